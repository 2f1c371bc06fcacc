from pathlib import Path

from davs_jax.plan import collectives
from davs_jax.plan.collectives import Collective

TEXT = (Path(__file__).parent / "step.hlo.txt").read_text()


def test_every_collective_of_a_step_is_found_with_its_bytes_group_and_number():
    assert set(collectives.read(TEXT)) == {
        Collective("all-reduce", 4 * 1024, 4, 1),  # an asynchronous pair counts once, with all that it reduces
        Collective("all-reduce", 4 * 256, 2, 8),  # in a loop of eight turns
        Collective("all-gather", 2 * 256, 4, 1),  # inside a fusion
        Collective("all-gather", 2 * 128, 2, 1),  # divided over two pieces of other work, in which it hides
        Collective("reduce-scatter", 4 * 1000, 4, 1),  # what it takes, not what is left
        Collective("collective-permute", 4 * 10, 0, 1),
    }


def test_a_loop_of_unknown_length_counts_once():
    unknown = TEXT.replace('{"known_trip_count":{"n":"8"}}', "{}")
    assert Collective("all-reduce", 4 * 256, 2, 1) in collectives.read(unknown)


def test_a_program_for_one_device_has_none():
    alone = "ENTRY %main (x: f32[2]) -> f32[2] {\n  ROOT %y = f32[2]{0} add(%x, %x)\n}\n"
    assert collectives.read(alone) == []
