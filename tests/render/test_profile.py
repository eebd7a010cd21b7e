"""The table of a network's kernels."""

from gensynth.render.profile import profile


def test_kernels_stand_by_vertex_with_shares_and_what_they_are_beyond_the_whole() -> None:
    kernels = [
        {"vertex": "conv1", "kind": "conv direct", "ms": 0.25},
        {"vertex": "fc", "kind": "gemm", "ms": 0.5},
    ]
    network = {"name": "net", "latency": {"p50_ms": 0.5}, "kernels": kernels}
    text = profile({"networks": [network]})
    assert [line.split() for line in text.splitlines()[:4]] == [
        ["net", "kernel", "ms", "share"],
        ["fc", "gemm", "0.5000", "100.0", "%"],
        ["conv1", "conv", "direct", "0.2500", "50.0", "%"],
        ["together", "2", "kernels", "0.7500", "150.0", "%"],
    ]
    assert "0.2500 ms less than its kernels together" in " ".join(text.split())


def test_a_runtime_without_a_profile_says_so() -> None:
    network = {"name": "net", "latency": {"p50_ms": 0.5}, "kernels": None}
    assert "does not say what each kernel takes" in profile({"networks": [network]})
