"""What a preparation counted, as text tables; the report shows the same counts as a page."""

from collections import Counter
from collections.abc import Mapping

from data_prep.plan import Plan
from data_prep.tally import MEASURES, Tally
from davs_jax.display.tables import text_table

QUANTILES = {"lowest 5 %": 0.05, "median": 0.5, "highest 5 %": 0.95}
MAX_SPEAKERS = 100  # that are named

Tables = Mapping[str, Counter]  # by split: `records`, and rejections by stage


def text(plan: Plan, tables: Tables, tally: Tally) -> str:
    """The tables of splits, speakers and measures, and the counts of audio offsets, for a terminal."""
    split_rows = [(split, *map(str, counts)) for split, counts in rows(plan, tables, tally)]
    parts = [text_table([("split", *columns(plan, tables, tally)), *split_rows])]
    if speakers := _speakers(plan, tables, tally):
        parts.append(text_table([("split", "speakers", ""), *speakers], left=3))
    if tally.offsets:
        counted = ", ".join(f"{outcome} {count:,}" for outcome, count in tally.offsets.most_common())
        parts.append(f"audio offsets, by clips: {counted}")
    if names := tally.measured():
        cells = [(MEASURES[name].title, *quantiles(tally, name)) for name in names]
        parts.append(text_table([("measure", *QUANTILES), *cells]))
    return "\n\n".join(parts)


def columns(plan: Plan, tables: Tables, tally: Tally) -> list[str]:
    """The columns of the table of splits."""
    unlabelled = ["without a word"] * _partly_labelled(plan, tables, tally)
    return ["records", *unlabelled, *(f"rejected: {stage}" for stage in _stages(tables))]


def rows(plan: Plan, tables: Tables, tally: Tally) -> list[tuple[str, list[int]]]:
    """The table of splits: each with the counts that `columns` names."""
    partly, stages = _partly_labelled(plan, tables, tally), _stages(tables)
    return [
        (split, [table["records"], *[tally.unlabelled(split)] * partly, *(table[stage] for stage in stages)])
        for split, table in tables.items()
    ]


def quantiles(tally: Tally, name: str) -> list[str]:
    """The values of a measure at QUANTILES."""
    return [tally.quantile(name, share) for share in QUANTILES.values()]


def _stages(tables: Tables) -> list[str]:
    return sorted({stage for table in tables.values() for stage in table} - {"records"})


def _partly_labelled(plan: Plan, tables: Tables, tally: Tally) -> bool:
    return bool(plan.labels.get("word")) and any(tally.unlabelled(split) for split in tables)


def _speakers(plan: Plan, tables: Tables, tally: Tally) -> list[tuple[str, str, str]]:
    """By split, the number and the names of its speakers, where they are few enough to be read."""
    names = plan.labels.get("speaker", ())
    if not 0 < len(names) <= MAX_SPEAKERS:
        return []
    members = {split: [names[label] for label in tally.members("speaker", split)] for split in tables}
    return [(split, str(len(own)), " ".join(own)) for split, own in members.items()]
