"""High dynamic range and wide gamuts (HLG, PQ, BT.2020, P3) converted to SDR in BT.709.

The conversion is display-referred (ITU-R BT.2408): a colour that HDR shows as light of so many cd/m² becomes the SDR
code that shows the same light where SDR's white is WHITE. Highlights above are compressed, not clipped. It is computed
once as a table of colours, which FFmpeg's `lut3d` filter applies.
"""

import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

from davs_jax.errors import MediaError

WHITE = 203.0  # cd/m² of SDR's white in HDR (BT.2408)
PEAK = 1000.0  # cd/m² of the brightest highlight that is told from white; HLG's nominal peak
KNEE = 0.9  # of the SDR signal: above it highlights are compressed
NODES = 49  # per axis of the table: an average error of 0.3 gray levels
GAMMA = 2.4  # of an SDR display (BT.1886)
ICTCP = {
    10,
    14,
    15,
    16,
    17,
}  # codes of matrices that swscale does not convert: constant luminance, ICtCp and later ones

# x, y of red, green and blue; all have the white D65, except DCI-P3.
D65 = (0.3127, 0.3290)
GAMUTS = {
    ColorPrimaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65),
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    ColorPrimaries.SMPTE431: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
}
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020
HDR = (ColorTrc.ARIB_STD_B67, ColorTrc.SMPTE2084)


class Colours:
    """Converts the frames of one stream to SDR in BT.709; SDR frames in usual gamuts pass untouched.

    Args:
      path: the file, for errors.
    """

    def __init__(self, path):
        self._path, self._made_for, self._graph = path, None, None

    def sdr(self, frame):
        """A decoded frame → a frame in SDR, BT.709.

        Raises:
          MediaError: its colours are in a form that FFmpeg does not convert.
        """
        if frame.colorspace in ICTCP:
            reason = f"{self._path}: its colours are coded in a rare form (matrix {frame.colorspace})"
            raise MediaError(reason, "convert it to BT.709")
        curve, gamut = frame.color_trc, frame.color_primaries
        if curve not in HDR and (gamut not in GAMUTS or gamut == ColorPrimaries.BT709):
            return frame
        gamut = gamut if gamut in GAMUTS else ColorPrimaries.BT2020
        # An HDR frame without a matrix has BT.2020's.
        matrix = {"src_colorspace": Colorspace.BT2020} if curve in HDR and frame.colorspace == 2 else {}
        rgb = frame.reformat(format="gbrp16le", **matrix)
        kind = rgb.width, rgb.height, curve, gamut
        if kind != self._made_for:
            self._made_for, self._graph = kind, _graph(rgb, curve, gamut)
        rgb.pts = None
        self._graph.push(rgb)
        return self._graph.vpull()


def table(curve: int, gamut: int, nodes: int = NODES) -> np.ndarray:
    """The conversion at `nodes` codes per axis: float64 `[blue, green, red, 3]`, RGB in 0…1.

    Args:
      curve, gamut: transfer characteristic and primaries, as FFmpeg numbers them.
    """
    axis = np.linspace(0, 1, nodes)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    light = _LIGHT.get(curve, _sdr_light)(np.stack([red, green, blue], -1))
    light = np.maximum(light @ _to_bt709(gamut).T, 0)
    return np.clip(_compressed(light ** (1 / GAMMA)), 0, 1)


def _sdr_light(codes: np.ndarray) -> np.ndarray:
    return codes**GAMMA


def _hlg_light(codes: np.ndarray) -> np.ndarray:
    """BT.2100's inverse OETF and OOTF for a display of PEAK; 1 is SDR's white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
    return PEAK / WHITE * scene * (scene @ LUMINANCE)[..., None] ** 0.2


def _pq_light(codes: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084's EOTF; 1 is SDR's white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = codes ** (1 / m2)
    return 10_000 / WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


_LIGHT: dict[int, Callable] = {ColorTrc.ARIB_STD_B67: _hlg_light, ColorTrc.SMPTE2084: _pq_light}


def _compressed(signal: np.ndarray) -> np.ndarray:
    """Reinhard's extended curve above KNEE, with slope 1 there: PEAK becomes 1."""
    most = ((PEAK / WHITE) ** (1 / GAMMA) - KNEE) / (1 - KNEE)
    above = np.clip((signal - KNEE) / (1 - KNEE), 0, most)
    return np.minimum(signal, KNEE) + (1 - KNEE) * above * (1 + above / most**2) / (1 + above)


def _to_bt709(gamut: int) -> np.ndarray:
    """Matrix `[3, 3]` from linear RGB of a gamut to that of BT.709."""
    return np.linalg.inv(_to_xyz(ColorPrimaries.BT709)) @ _to_xyz(gamut)


def _to_xyz(gamut: int) -> np.ndarray:
    """Matrix `[3, 3]` from linear RGB to XYZ; white is Y = 1, adapted to D65 where it is another (von Kries in XYZ)."""
    *primaries, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in GAMUTS[gamut])
    columns = np.stack(primaries, 1)
    target = np.array([D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]])
    return (target / white)[:, None] * columns * np.linalg.solve(columns, white)


@lru_cache(maxsize=8)
def _cube(curve: int, gamut: int) -> str:
    """The table as the text of a .cube file."""
    rows = table(curve, gamut).reshape(-1, 3).tolist()
    return "\n".join([f"LUT_3D_SIZE {NODES}", *(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in rows), ""])


def _graph(frame, curve: int, gamut: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    handle, name = tempfile.mkstemp(suffix=".cube")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(_cube(int(curve), int(gamut)))
        parts = graph.add_buffer(template=frame), graph.add("lut3d", file=name), graph.add("buffersink")
        graph.link_nodes(*parts).configure()
    finally:
        Path(name).unlink()
    return graph
