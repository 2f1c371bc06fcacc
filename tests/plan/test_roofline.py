import dataclasses

import pytest

from davs_jax.plan import machines, roofline, search, tables, traffic
from davs_jax.plan.collectives import Collective
from davs_jax.plan.compiling import Compiled

GIB = machines.GIB


def compiled(**changes) -> Compiled:
    values = {
        "examples": 16,
        "images": 16 * 34,
        "held": {"parameters": GIB, "optimizer": 2 * GIB},
        "fits": True,
        "peak": 5 * GIB,
        "limit": 0,
        "temporaries": 2 * GIB,
        "code": 2**20,
        "flops": 197e12,
        "bytes": 819e9 / 2,
        "collectives": (),
        "seconds": 100.0,
        "padding": 819e9 / 8,
        "cycles": 3e9,
    }
    return Compiled(**values | changes)


@pytest.mark.parametrize(
    ("name", "size", "network", "hops"),
    [
        ("v5e:4x4", 16, 2 * 50e9, 6),  # too short for a ring: one direction, end to end
        ("v5e:16x16", 256, 4 * 50e9, 16),
        ("v5e:1x4", 4, 50e9, 3),
        ("v5p:4x4x4", 64, 6 * 100e9, 6),
        ("tpu7x:2x2x1", 8, 2 * 100e9, 2),
        ("h100:8", 8, 450e9, 1),
    ],
)
def test_a_machine_follows_from_its_name(name, size, network, hops):
    machine = machines.parse(name)
    assert (machine.name, machine.size, machine.network, machine.hops) == (name, size, network, hops)


@pytest.mark.parametrize("name", ["v9:4x4", "v5e", "v5e:4", "v5e:4x4x4", "v5e:0x4", "v5e:4xa", "h100:2x4"])
def test_a_machine_that_cannot_be_is_refused_with_its_name(name):
    with pytest.raises(machines.MachineError, match=f"--topology={name}"):
        machines.parse(name)


def test_each_resource_takes_what_its_rate_says_and_the_slowest_bounds():
    machine = machines.parse("v5e:4x4")
    reduce = Collective("all-reduce", 10**9, 16, 2)
    times = roofline.estimate(compiled(collectives=(reduce,)), machine)
    assert times.compute == pytest.approx(1.0)
    assert times.memory == pytest.approx(0.5)
    assert times.network == pytest.approx(2 * 2 * 15 / 16 * 1e9 / 100e9)
    assert (times.bound, times.best, times.worst) == ("compute", times.compute, pytest.approx(1.5375))


def test_a_small_collective_takes_as_long_as_its_message_travels():
    machine = machines.parse("v5e:16x16")
    assert roofline.transfer(Collective("all-reduce", 4, 256), machine) == pytest.approx(2 * 16 * machines.HOP)
    assert roofline.transfer(Collective("all-gather", 4, 1), machine) == 0.0


def test_float32_halves_the_rate_of_a_gpu_but_not_of_a_tpu():
    for name, ratio in (("h100:8", 2), ("v5e:2x2", 1)):
        machine = machines.parse(name)
        full, half = (roofline.estimate(compiled(), machine, full_precision=full) for full in (True, False))
        assert full.compute == pytest.approx(ratio * half.compute)


def test_an_epoch_and_the_decoding_follow_from_the_rate():
    assert roofline.epoch_hours(roofline.LRW_CLIPS / 3600) == pytest.approx(1.0)
    assert roofline.decoding_cores(10 * roofline.JPEGS_PER_CORE, 2.0) == pytest.approx(5.0)


@pytest.mark.parametrize("start", [1, 2, 16])
@pytest.mark.parametrize(("capacity", "most"), [(9, 0), (10, 1), (21, 1), (22, 2), (100, 9), (1000, 90)])
def test_the_largest_batch_is_found_in_few_compilations(capacity, most, start):
    def compile_for(clips: int) -> Compiled:
        peak = 11 * clips - (clips == 1)
        return compiled(peak=peak, fits=peak <= capacity, limit=0 if peak <= capacity else capacity)

    found, tried = search.largest(compile_for, capacity + 3, start)  # a part of the memory is never free
    assert found == most
    assert len(tried) <= 6
    if most:
        assert dict(tried)[most].fits
    assert not dict(tried)[most + 1].fits


def test_few_clips_that_take_no_more_than_one_do_not_lead_the_search_astray():
    def compile_for(clips: int) -> Compiled:
        peak = max(700, 11 * clips)
        return compiled(peak=peak, fits=peak <= 1000, limit=0 if peak <= 1000 else 1000)

    found, tried = search.largest(compile_for, 1003)
    assert (found, len(tried)) == (90, 7)
    assert max(clips for clips, _ in tried) == 128  # not the 304 that a flat line says


def test_the_table_shows_machines_side_by_side_and_says_what_does_not_fit():
    small, large = machines.parse("v5e:2x2"), machines.parse("v5p:2x2x1")
    full = compiled(fits=False, peak=20 * GIB, limit=15 * GIB, collectives=())
    fits = compiled(collectives=(Collective("all-reduce", 2**20, 4, 3),))
    text = tables.beside([(small, full, None), (large, fits, roofline.estimate(fits, large))], {"v5p:2x2x1": 9})
    rows = {line[:28].strip(): line[28:].split() for line in text.splitlines()}
    assert rows["fits"] == ["NO", "yes"]
    assert rows["most clips a chip that fit"] == ["-", "9"]
    assert rows["memory: most at once"] == ["20.00", "GiB", "5.00", "GiB"]
    assert rows["all-reduce: number, bytes"] == ["-", "3,", "3.0", "MiB"]


@pytest.mark.parametrize(("name", "seconds", "shown"), [("v5e:2x2", 2.0, "2.00 s"), ("v6e:2x2", 0.0, "unknown")])
def test_the_compilers_cycles_are_a_third_time_where_the_clock_is_known(name, seconds, shown):
    machine, step = machines.parse(name), compiled()
    times = roofline.estimate(step, machine)
    assert times.cycles == seconds
    rows = {line[:28].strip(): line[28:].strip() for line in tables.beside([(machine, step, times)], {}).splitlines()}
    assert rows["step, compiler's cycles"] == shown
    assert rows["of which padding"] == "25%"


def test_the_largest_consumers_are_shown_with_their_shares():
    consumers = (traffic.Consumer("decoder conv1", 819e9 / 4, 819e9 / 8, 1.5e9),)
    text = tables.consumers(machines.parse("v5e:2x2"), compiled(consumers=consumers))
    assert text.splitlines()[1].split() == ["decoder", "conv1", "190.69", "GiB", "50.0%", "50%", "50.0%"]


def test_the_curve_compares_with_as_many_times_the_smallest():
    plans = []
    for name, network in (("v5e:2x2", 0), ("v5e:4x4", 10**10)):
        machine = machines.parse(name)
        step = compiled(examples=machine.size, bytes=0.0, collectives=(Collective("all-reduce", network, 0),))
        plans.append((machine, step, roofline.estimate(step, machine)))
    last = tables.curve(plans).splitlines()[-1].split()
    assert last[-2:] == ["84%", "15.8%"]
    assert tables.plot({"v5e": plans})[1:4] == b"PNG"


def test_what_was_compiled_survives_the_disk():
    import json

    consumers = (traffic.Consumer("decoder", 4.0, 2.0, 0.0),)
    step = compiled(collectives=(Collective("all-reduce", 8, 4, 2),), consumers=consumers)
    assert Compiled.from_json(json.dumps(dataclasses.asdict(step))) == step
