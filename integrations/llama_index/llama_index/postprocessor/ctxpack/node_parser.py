"""A node parser that cuts between sentences, list items, table rows and code blocks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.node_parser.interface import MetadataAwareTextSplitter
from llama_index.core.node_parser.node_utils import IdFuncCallable, build_nodes_from_splits
from llama_index.core.schema import BaseNode, Document, TextNode
from llama_index.core.utils import get_tqdm_iterable
from llama_index.postprocessor.ctxpack.nodes import text_of
from llama_index.postprocessor.ctxpack.settings import Counter, WholePickle, not_data

from ctxpack import Pipeline

IdFunc = Annotated[IdFuncCallable | None, not_data("id_func")]

# Without steps, every span of the text is kept; nothing reads the query.
_SPLIT = {"name": "split", "scorer": "lexical", "steps": []}
_NO_QUERY = "-"


class CtxPackNodeParser(WholePickle, MetadataAwareTextSplitter):
    """Cuts documents into nodes that respect their structure, as exact slices with offsets.

    A node never ends inside a sentence, list item, table row or code block, nor right behind a
    heading, a table header or the line that leads a list in; one of these that is longer than
    `chunk_size` is a node of its own. A heading starts a node once the one before is half full. The
    nodes of a document are all of its text, without overlap, white space included.

    Images and what else is not text alone come out as they went in.

    Args:
        chunk_size: tokens that a node may have, with the metadata that a model sees.
        token_counter: what `Pipeline.from_recipe` takes; None for the offline approximation.
        id_func: makes the id of a node of its number and its document; None for a UUID made of the
            document's id and the offsets, which is the same every time.
        include_metadata: as in every node parser of the framework.
        include_prev_next_rel: as in every node parser of the framework.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    chunk_size: int = Field(default=512, gt=0)
    token_counter: Counter = Field(default=None, frozen=True)
    # The framework's own field has a default that is written as data but cannot be read back.
    id_func: IdFunc = None  # type: ignore[assignment]

    _pipeline: Pipeline = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the settings now, so that a mistake shows before the first call."""
        super().model_post_init(context)
        self._pipeline = Pipeline.from_recipe(_SPLIT, token_counter=self.token_counter)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the framework serialises this class."""
        return "CtxPackNodeParser"

    def split_text(self, text: str) -> list[str]:
        """Return the parts of a text; joined they are the text."""
        return self.split_text_metadata_aware(text, "")

    def split_text_metadata_aware(self, text: str, metadata_str: str) -> list[str]:
        """Return the parts of a text that leave room for its metadata; joined they are the text."""
        return [text[start:end] for start, end in self._slices(text, metadata_str)]

    async def aget_nodes_from_documents(
        self, documents: Sequence[Document], show_progress: bool = False, **kwargs: Any
    ) -> list[BaseNode]:
        """Return what `get_nodes_from_documents` returns, computed in a worker pool."""
        work = partial(self.get_nodes_from_documents, documents, show_progress, **kwargs)
        return await self._pipeline.run_in_pool(work)

    def _slices(self, text: str, metadata_str: str) -> list[tuple[int, int]]:
        counter = self._pipeline.token_counter
        # A blank line stands between metadata and text.
        room = self.chunk_size - counter.count(metadata_str + "\n\n" if metadata_str else "")
        if room <= 0:
            raise ValueError(
                f"`chunk_size` is {self.chunk_size} and the metadata alone has as many tokens or"
                f" more: {metadata_str[:80]!r}"
            )
        slices = self._pipeline.compress(_NO_QUERY, [text]).slices(counter, most=room)
        return slices[0] if slices else []

    def _parse_nodes(
        self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any
    ) -> list[BaseNode]:
        parsed: list[BaseNode] = []
        for node in get_tqdm_iterable(nodes, show_progress, "Parsing nodes"):
            parsed.extend(self._parts(node))
        return parsed

    def _parts(self, node: BaseNode) -> list[BaseNode]:
        text = text_of(node)
        if text is None or not isinstance(node, Document | TextNode):
            return [node.model_copy(deep=True)]  # The framework writes to what is parsed.
        slices = self._slices(text, self._get_metadata_str(node))
        parts = build_nodes_from_splits(
            [text[start:end] for start, end in slices], node, id_func=self.id_func
        )
        offset = node.start_char_idx or 0 if isinstance(node, TextNode) else 0
        for part, (start, end) in zip(parts, slices, strict=True):
            part.start_char_idx, part.end_char_idx = offset + start, offset + end
            part.embedding = None  # The document's is not that of a part.
            if self.id_func is None:
                part.id_ = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{node.node_id}:{start}-{end}"))
        return list(parts)

    def _postprocess_parsed_nodes(
        self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]
    ) -> list[BaseNode]:
        """Set what the framework sets, but not the offsets, which it looks for in the text."""
        parts = [node for node in nodes if isinstance(node, TextNode)]
        offsets = [(part.start_char_idx, part.end_char_idx) for part in parts]
        nodes = super()._postprocess_parsed_nodes(nodes, parent_doc_map)
        for part, (start, end) in zip(parts, offsets, strict=True):
            part.start_char_idx, part.end_char_idx = start, end
        return nodes
