import pytest

from davs_jax.plan import hlo, traffic
from davs_jax.plan.traffic import OTHER, Consumer

NETWORKS = {"PersonEncoder": "person_encoder", "Decoder": "decoder"}
TEXT = """
HloModule jit_step, is_scheduled=true

%inner (p.9: f32[8,128]) -> f32[8,128] {
  %p.9 = f32[8,128]{1,0:T(8,128)} parameter(0)
  ROOT %free = f32[8,128]{1,0:T(8,128)} add(%p.9, %p.9)
}

%turn (state: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %state = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %x = f32[8,128]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %y = f32[8,128]{1,0:T(8,128)} fusion(%x), kind=kLoop, calls=%inner, metadata={op_name="jit(f)/jvp(Decoder)/conv1/conv"}, backend_config={"window_config":{"estimated_cycles":"10"}}
  ROOT %next = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%i, %y)
}

%goes_on (state.1: (s32[], f32[8,128])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  ROOT %yes = pred[]{:T(512)} constant(true)
}

ENTRY %main (image: bf16[1,4,4,3], kernel: f32[16,128], start: (s32[], f32[8,128])) -> f32[16,128] {
  %image = bf16[1,4,4,3]{3,0,2,1:T(8,128)(2,1)} parameter(0)
  %kernel = f32[16,128]{1,0:T(8,128)} parameter(1), metadata={op_name="state.params[\\'person_encoder\\'][\\'block2\\'][\\'kernel\\']"}
  %start = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(2)
  %fetch = (f32[16,128]{1,0:T(8,128)S(1)}, f32[16,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%kernel)
  %fetched = f32[16,128]{1,0:T(8,128)S(1)} copy-done(%fetch)
  %map = f32[16,128]{1,0:T(8,128)S(1)} fusion(%image, %fetched), kind=kOutput, calls=%inner, metadata={op_name="jit(f)/transpose(jvp(PersonEncoder))/block1/transpose()/conv"}, backend_config={"window_config":{"estimated_cycles":"700"}}
  %loop = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) while(%start), condition=%goes_on, body=%turn, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %step = f32[16,128]{1,0:T(8,128)} multiply(%map, %map), metadata={op_name="jit(f)/mul"}
}
"""  # noqa: E501


def test_traffic_is_counted_by_layer_with_padding_loops_and_without_on_chip_memory():
    image = 4 * 4 * 8 * 128 * 2  # one row and three channels lie in tiles of 8 × 128
    assert traffic.read(TEXT, NETWORKS) == [
        Consumer("person_encoder block1", image, image - 4 * 4 * 3 * 2, 700.0),
        Consumer("decoder conv1", 3 * 2 * 8 * 128 * 4, 0.0, 30.0),
        Consumer(OTHER, 16 * 128 * 4, 0.0, 0.0),
        Consumer("person_encoder block2", 16 * 128 * 4, 0.0, 0.0),  # the weight's way to the chip
    ]


@pytest.mark.parametrize(
    ("kind", "size", "padded", "space"),
    [
        ("f32[8,128]{1,0:T(8,128)}", 4096, 4096, 0),
        ("bf16[12,256,256,32]{3,0,2,1:T(8,128)(2,1)}", 48 * 2**20, 256 * 2**20, 0),
        ("f32[7,7,3,4]{3,2,1,0:T(4,128)S(1)}", 2352, 49 * 4 * 128 * 4, 1),
        ("f32[5]{0:T(128)}", 20, 512, 0),
        ("s32[]{:T(128)}", 4, 512, 0),
        ("f32[2,3]{1,0}", 24, 24, 0),
        ("f32[2,3]", 24, 24, 0),
    ],
)
def test_a_layout_tells_the_bytes_that_an_array_takes(kind, size, padded, space):
    (array,) = hlo.Instruction("x", kind, "copy", "%y)").arrays
    assert array == hlo.Array(size, padded, space)


@pytest.mark.parametrize(
    ("scope", "consumer"),
    [
        ("jit(<lambda>)/jvp(PersonEncoder)/block34/concatenate", "person_encoder block34"),
        ("jit(<lambda>)/transpose(jvp(Decoder))/conv1/norm/mul", "decoder conv1"),
        ("jit(<lambda>)/jvp(checkpoint)/Decoder/conv1/add", "decoder conv1"),
        ("jit(<lambda>)/Decoder/add", "decoder"),
        ("jit(<lambda>)/Elsewhere/block1/add", OTHER),
        ("state.opt['generator'][0].mu['decoder']['conv1']['kernel']", OTHER),
        ("state.params['decoder']['conv1']['kernel']", "decoder conv1"),
    ],
)
def test_a_scope_names_network_and_layer(scope, consumer):
    assert traffic.consumer(scope, NETWORKS) == consumer
