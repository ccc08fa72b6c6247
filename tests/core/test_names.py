import pytest

from ganloom.core.errors import ConfigError
from ganloom.core.names import check_name, is_count, keyword_options, nearest


def build(shape: tuple[int, int], *, width: int = 64, rate: float = 0.5, deep: bool = False) -> None:
    """A stand-in for a network, whose keyword-only arguments are its options."""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hinges", "Did you mean 'hinge'?"),
        ("train.btach", "Did you mean 'train.batch'?"),
        ("tarin.btach", "Did you mean 'train.batch'?"),
        ("net.batch", "Did you mean 'train.batch'?"),
        ("schedul", "Did you mean 'optimizer.g.schedule'?"),
        ("zzz", "Known: bce, hinge, optimizer.g.schedule, train.batch."),
    ],
)
def test_the_nearest_known_name_is_offered(name: str, sentence: str) -> None:
    assert nearest(name, ["hinge", "train.batch", "optimizer.g.schedule", "bce"]) == sentence


def test_an_empty_list_of_names_is_reported() -> None:
    assert nearest("x", []) == "There are none."


def test_a_known_name_passes_and_an_unknown_one_is_refused_with_the_remedy() -> None:
    check_name("loss", "bce", ["bce", "hinge"])
    with pytest.raises(ConfigError, match=r"unknown loss 'hinges'\. Did you mean 'hinge'\?"):
        check_name("loss", "hinges", iter(["bce", "hinge"]))


def test_options_not_given_keep_their_defaults() -> None:
    assert keyword_options("net", build, {}) == {"width": 64, "rate": 0.5, "deep": False}
    assert keyword_options("net", build, {"width": 8}) == {"width": 8, "rate": 0.5, "deep": False}


def test_a_number_that_yaml_reads_as_text_is_converted() -> None:
    assert keyword_options("net", build, {"rate": "1e-4"})["rate"] == 1e-4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"widht": 8}, r"unknown option 'widht' of net 'x'\. Did you mean 'width'\?"),
        ({"shape": (1, 1)}, r"unknown option 'shape' of net 'x'\. Known: deep, rate, width\."),
        ({"width": "wide"}, r"option 'width' of net 'x': must be a whole number, not 'wide'"),
        ({"width": 1.5}, r"option 'width' of net 'x': must be a whole number, not 1\.5"),
    ],
)
def test_unknown_and_wrong_options_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        keyword_options("net 'x'", build, given)


def test_an_option_without_a_default_must_be_given() -> None:
    def needs(*, width: int) -> None: ...

    with pytest.raises(ConfigError, match="width"):
        keyword_options("thing", needs, {})
    assert keyword_options("thing", needs, {"width": 3}) == {"width": 3}


def test_an_option_without_a_type_takes_anything() -> None:
    def loose(*, width=3) -> None: ...  # type: ignore[no-untyped-def]

    assert keyword_options("thing", loose, {"width": "wide"}) == {"width": "wide"}


@pytest.mark.parametrize(
    ("text", "counts"),
    [("000000020000", True), ("0", True), ("²³", False), ("٣", False), ("", False), ("9" * 19, False)],
)
def test_only_decimal_digits_of_a_sane_length_are_a_count(text: str, counts: bool) -> None:
    assert is_count(text) is counts
