"""Between rows of this side and the canonical document: compiled once per aggregate, run for thousands of rows."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.errors import DeclarationError, FutureVersion, Unloadable
from migrations_plan.sync.fields import Convert, codec_of

Row = tuple[Any, ...]
Data = dict[str, Any]
KEY = "id"
"""The canonical name of a part's own key."""
IN_CHUNK = 500
"""Keys named in one statement; SQLite takes no more than some thousands of parameters."""

_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, kw_only=True)
class LoadedRow:
    """A row to be: values by the table's synced columns, in their order."""

    key: Any
    values: Row


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A document as rows of this side."""

    root: LoadedRow
    parts: tuple[tuple[LoadedRow, ...], ...]
    """In the order of the aggregate's parts."""


def canonical(data: Data) -> bytes:
    """Return a document's data as the bytes that both sides agree on: sorted keys, no white space, UTF-8."""
    return _encode(data)


def digest_of(data: Data) -> str:
    """Return what stands for the contents: the first 32 hexadecimal digits of SHA-256 over the canonical bytes."""
    return hashlib.sha256(_encode(data)).hexdigest()[:32]


class _Table:
    """One table's conversions. Rows are read as the key (and the parent, for a part) and then the fields' columns."""

    def __init__(self, rows: Rows) -> None:
        model = rows.model_class
        self.rows = rows
        self.columns = rows.synced_columns
        self.first = 2 if isinstance(rows, Part) else 1
        self.dump_key, self.load_key = codec_of(rows.key).dump, codec_of(rows.key).load
        self.names = tuple(field.name for field in rows.fields)
        self._dumps: list[tuple[str, int, int, Convert | None]] = []
        self._loads: list[tuple[str, int, Convert | None]] = []
        position = self.first
        for field in rows.fields:
            width, codec = len(field.columns), field.codec(model)
            self._dumps.append((field.name, position, width, codec.dump))
            self._loads.append((field.name, width, codec.load))
            position += width
        if len(set(self.names)) != len(self.names) or len(set(self.columns)) != len(self.columns):
            raise DeclarationError(f"{rows.model} names a column or a field of the document twice.")

    def dump(self, row: Row) -> Data:
        """Return the fields of a row."""
        data: Data = {}
        for name, position, width, convert in self._dumps:
            if width == 1:
                value = row[position]
                data[name] = convert(value) if convert is not None and value is not None else value
            elif convert is not None:
                data[name] = convert(row[position : position + width])
        return data

    def load(self, data: Mapping[str, Any]) -> list[Any]:
        """Return the values of the fields' columns, in their order; the fields are known to be there."""
        values: list[Any] = []
        for name, width, convert in self._loads:
            value = data[name]
            if width > 1 and convert is not None:
                values.extend(convert(value))
            else:
                values.append(convert(value) if convert is not None and value is not None else value)
        return values


class Form:
    """An aggregate's documents: how they are made of rows, and how rows are made of them."""

    def __init__(self, aggregate: Aggregate) -> None:
        self.aggregate = aggregate
        self._root = _Table(aggregate.root)
        self._parts = [(part, _Table(part)) for part in aggregate.parts]
        self.root_columns = self._root.columns
        self.part_columns = tuple(table.columns for _, table in self._parts)
        names = [*self._root.names, *(part.name for part, _ in self._parts)]
        if len(set(names)) != len(names):
            raise DeclarationError(f"The aggregate {aggregate.name} has two fields or parts of one name: {names}.")
        self._root_known = frozenset(names)
        self._part_known = [frozenset((KEY, *table.names)) for _, table in self._parts]

    # --- keys -------------------------------------------------------------------------------------------------
    def key_text(self, key: Any) -> str:
        """Return a root's key as documents and marks spell it."""
        return str(key)

    def key_value(self, text: str) -> Any:
        """Return the value that a key's text stands for; raise Unloadable if it stands for none."""
        kind = self.aggregate.key_kind
        if kind == "text":
            return text
        try:
            if kind == "integer":
                value: Any = int(text)
            else:
                load = self._root.load_key
                value = load(text) if load is not None else text
        except (ValueError, Unloadable):
            raise Unloadable(f"{text!r} is no key of {self.aggregate.name}: it has to be of kind {kind}.") from None
        if str(value) != text:
            raise Unloadable(f"{text!r} is another spelling of the key {value}. Spell keys in one way.")
        return value

    # --- rows to document -------------------------------------------------------------------------------------
    def read(self, keys: Sequence[Any]) -> dict[Any, Data]:
        """Return the data of those of the roots that exist, by key; the caller holds the snapshot."""
        found: dict[Any, Data] = {}
        for start in range(0, len(keys), IN_CHUNK):
            chunk = keys[start : start + IN_CHUNK]
            rows = self.roots().filter(pk__in=chunk).values_list(*self.root_columns)
            parts = [self._of_parents(part, table, {f"{part.parent}__in": chunk}) for part, table in self._parts]
            found.update(self._assembled(rows, parts))
        return found

    def read_range(self, after: Any, until: Any) -> dict[Any, Data]:
        """Return the data of the roots with keys above ``after`` up to ``until``; None is open."""
        condition: dict[str, Any] = {}
        if after is not None:
            condition["gt"] = after
        if until is not None:
            condition["lte"] = until
        rows = self.roots().filter(**{f"pk__{name}": value for name, value in condition.items()})
        parts = [
            self._of_parents(part, table, {f"{part.parent}__{name}": value for name, value in condition.items()})
            for part, table in self._parts
        ]
        return self._assembled(rows.order_by("pk").values_list(*self.root_columns), parts)

    def roots(self) -> Any:
        """Return all roots, whatever the model's default manager leaves out."""
        return self.aggregate.root.model_class._base_manager.using(self.aggregate.alias)

    def _of_parents(self, part: Part, table: _Table, condition: Mapping[str, Any]) -> dict[Any, list[Data]]:
        rows = part.model_class._base_manager.using(self.aggregate.alias).filter(**condition)
        dump, dump_key = table.dump, table.dump_key
        found: defaultdict[Any, list[Data]] = defaultdict(list)
        # By the parent first: by their own key alone, a planner may read the whole table in that order.
        for row in rows.order_by(part.parent, "pk").values_list(*table.columns).iterator(chunk_size=5_000):
            data = dump(row)
            data[KEY] = row[0] if dump_key is None else dump_key(row[0])
            found[row[1]].append(data)
        return found

    def _assembled(self, rows: Iterable[Row], parts: Sequence[Mapping[Any, list[Data]]]) -> dict[Any, Data]:
        dump, names = self._root.dump, [part.name for part, _ in self._parts]
        found: dict[Any, Data] = {}
        for row in rows:
            data = dump(row)
            for name, of_parents in zip(names, parts, strict=True):
                data[name] = of_parents.get(row[0], [])
            found[row[0]] = data
        return found

    # --- document to rows -------------------------------------------------------------------------------------
    def current(self, version: int, data: Data) -> Data:
        """Lift the data of an older version up to the declared one; raise FutureVersion or Unloadable."""
        aggregate = self.aggregate
        if version > aggregate.version:
            raise FutureVersion(
                f"Version {version} of the document is newer than version {aggregate.version}, the latest that this "
                "program knows. Upgrade it; the document is tried again by itself."
            )
        for step in range(version, aggregate.version):
            upcaster = aggregate.upcasters.get(step)
            if upcaster is None:
                raise Unloadable(f"Nothing turns version {step} of {aggregate.name} into version {step + 1}.")
            try:
                data = upcaster(data)
            except Exception as error:
                raise Unloadable(f"Version {step} of {aggregate.name} cannot be lifted: {error!r}.") from error
        return data

    def load(self, key: Any, data: Data) -> Loaded:
        """Return a document as rows; raise Unloadable with the field that does not fit."""
        if not isinstance(data, dict):
            raise Unloadable(f"The document's data is a {type(data).__name__} and no object.")
        if data.keys() != self._root_known:
            raise _misfit(self.aggregate.root.model, data.keys(), self._root_known)
        root = self._root.load(data)
        parts: list[tuple[LoadedRow, ...]] = []
        for (part, table), known in zip(self._parts, self._part_known, strict=True):
            listed = data[part.name]
            if not isinstance(listed, list):
                raise Unloadable(f"{part.name} is a {type(listed).__name__} and no list.")
            parts.append(tuple(_load_part(table, item, key, known) for item in listed))
        return Loaded(root=LoadedRow(key=key, values=(key, *root)), parts=tuple(parts))


def _load_part(table: _Table, item: Any, parent: Any, known: frozenset[str]) -> LoadedRow:
    if not isinstance(item, dict):
        raise Unloadable(f"A part of {table.rows.model} is a {type(item).__name__} and no object.")
    if item.keys() != known:
        raise _misfit(table.rows.model, item.keys(), known)
    key = item[KEY]
    if table.load_key is not None:
        key = table.load_key(key)
    return LoadedRow(key=key, values=(key, parent, *table.load(item)))


def _misfit(model: str, given: Iterable[str], known: Iterable[str]) -> Unloadable:
    lacking, extra = sorted(set(known) - set(given)), sorted(set(given) - set(known))
    told = [f"{what}: {', '.join(names)}" for what, names in (("missing", lacking), ("unknown", extra)) if names]
    return Unloadable(f"The document does not fit {model}; {'; '.join(told)}.")


_forms: dict[int, Form] = {}
"""By identity: both sides of an aggregate may be declared in one process."""


def form_of(aggregate: Aggregate) -> Form:
    """Return the compiled form of an aggregate."""
    form = _forms.get(id(aggregate))
    if form is None:
        form = _forms[id(aggregate)] = Form(aggregate)  # which keeps the aggregate, and so its identity, alive
    return form
