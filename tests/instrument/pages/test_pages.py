"""The pages of comparisons and ablations: they stand alone, say every number, claim no more than measured."""

from __future__ import annotations

import math
import re

import attrs
import measured
import pytest
from html_page import Page, lead, written

from resnetbk.errors import StorageError, UserError
from resnetbk_instrument.pages import svg as report_svg
from resnetbk_instrument.pages.write import write_report
from resnetbk_instrument.results.comparison import FAILED, Interval

pytest.importorskip("matplotlib", reason="reports need matplotlib, the extra `plots`")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return written(measured.comparison(1.0, 5.9), tmp_path_factory.mktemp("target"))


PAGES = {
    "target": measured.comparison(1.0, 5.9),
    "equal": measured.comparison(1.0, 2.0, 3.0, equal=True),
    "one pair": measured.comparison(1.0, 2.0, pairs=1),
    "ablation": measured.ablation(),
}


@pytest.mark.parametrize("comparison", PAGES.values(), ids=PAGES.keys())
def test_a_page_stands_alone_and_its_parts_fit_together(comparison, tmp_path):
    text = written(comparison, tmp_path)
    page = Page(text)
    assert "script" not in page.tags
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert "http" not in text
    assert "url(" not in text.split("<style>")[1].split("</style>")[0]
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for name, value in page.attributes if name == "href"}
    used |= set(re.findall(r"url\(#([^)]*)\)", text))
    assert used
    assert used <= set(ids)
    assert ("name", "viewport") in page.attributes


def test_a_page_has_both_themes_and_its_pictures_follow_them(target):
    css, body = target.split("</style>", 1)
    dark = css[css.index("prefers-color-scheme: dark") :]
    for variable in set(re.findall(r"var\((--[a-z0-9-]+)\)", body)) - {"--font"}:
        assert f"{variable}: #" in css.split("@media")[0]
        assert f"{variable}: #" in dark
    assert body.count("<svg") == 5
    assert not re.findall(r"#[0-9a-f]{6}\b", body)  # no colour but the theme's
    assert "DejaVu" not in body


def test_every_number_is_on_the_page(target):
    text = Page(target).text
    comparison = measured.comparison(1.0, 5.9)
    for value in ("12.5", "2.12", "23.8", "4.03", "375", "63.6", "64.0", "12,345", "300", "1.879", "5.90"):
        assert value in text, value
    for nats in comparison.ngram_baseline.values():
        assert f"{nats:.3f}" in text
    for words in (*comparison.machine.values(), comparison.command, "forward", "backward", "model.mixer.use"):
        assert words in text, words
    for trial in comparison.trials:
        assert f"{trial.outcome.loss:.3f}" in text


def head(text: str, section: str) -> list[str]:
    """The headings of the first table after a heading."""
    table = text.split(f"<h2>{section}</h2>")[1].split("</thead>")[0]
    return [Page(cell).text for cell in re.findall(r"<th scope=.*?</th>", table, re.S)]


def test_what_a_page_is_about_is_the_first_number_of_its_table(target, tmp_path):
    assert head(target, "All numbers")[:2] == ["variant", "less time, ×"]
    equal = head(written(measured.comparison(1.0, 2.0, equal=True), tmp_path), "All numbers")
    assert equal[:3] == ["variant", "nats gained", "nats/token"]
    factors = head(written(measured.ablation(), tmp_path), "What each factor is worth")
    assert factors[:3] == ["factor", "verdict", "in combination, times less time"]


def test_counting_stands_in_the_column_of_losses(target):
    for nats in measured.NGRAM_BASELINE.values():
        (row,) = (row for row in target.split("<tr") if re.search(rf">{nats:.3f}<", row))
        cells = re.findall(r"<t[hd].*?</t[hd]>", row, re.S)
        assert [bool(re.search(r"\d\.", cell)) for cell in cells].index(True) == head(
            target, "All numbers"
        ).index("nats/token")


def test_logarithmic_axes_say_so_and_no_others(target, tmp_path):
    def said(text: str) -> list[bool]:
        return ["log scale" in picture for picture in re.findall(r"<svg.*?</svg>", text, re.S)]

    assert said(target) == [True, True, True, True, False]  # losses, what is saved, phases
    equal = written(measured.comparison(1.0, 2.0, equal=True), tmp_path)
    assert said(equal) == [True, True, True, False, False]  # losses, what is gained, phases


def test_phases_that_took_nothing_are_left_out(tmp_path):
    comparison = measured.comparison(1.0, 5.9)
    trials = [
        attrs.evolve(
            t, outcome=attrs.evolve(t.outcome, phases={"setup": 0.0, "scoring": 1e-3, **t.outcome.phases})
        )
        for t in comparison.trials
    ]
    text = written(attrs.evolve(comparison, trials=tuple(trials)), tmp_path)
    section = text.split("Where the time goes</h2>")[1].split("</section>")[0]
    assert re.findall(r"--phase-(\d)\)\"></i>(\w+)<", section) == [
        ("0", "forward"),
        ("1", "backward"),
        ("2", "optimizer"),
    ]
    assert not {"setup", "scoring"} & set(Page(section).text.split())


def test_the_headline_claims_the_sure_end_of_the_interval(target):
    assert lead(target) == (
        "beta reaches 1.88 nats in at least 5.54× less time than alpha "
        "(5.90×, 95 % interval 5.54 to 6.28, 5 pairs).".replace("5.54 to 6.28", "5.54× to 6.28×")
    )


def test_the_headline_of_a_slower_variant(tmp_path):
    said = lead(written(measured.comparison(1.0, 0.5), tmp_path))
    assert said.startswith("beta takes at least 1.87× more time than alpha to reach 1.88 nats (2.00×")


def test_the_headline_where_nothing_is_sure(tmp_path):
    said = lead(written(measured.comparison(1.0, 1.02), tmp_path))
    assert said.startswith("beta shows no sure difference in time from alpha on the way to 1.88 nats (1.02×")


def test_the_headline_of_one_pair_claims_no_interval(tmp_path):
    text = written(measured.comparison(1.0, 2.0, pairs=1), tmp_path)
    assert lead(text) == (
        "beta reaches 1.88 nats in 2.00× less time than alpha, in one pair, which gives no interval."
    )
    assert "at least" not in lead(text)
    assert "one pair" in Page(text).text
    assert "inf" not in Page(text).text.split()


@pytest.mark.parametrize(
    ("speed", "said"),
    [
        (2.0, "beta reaches 1.88 nats in 2.00× less time than alpha, in 2 pairs, too few for an interval"),
        (0.5, "beta reaches 1.88 nats in 2.00× more time than alpha, in 2 pairs, too few for an interval"),
    ],
)
def test_two_pairs_are_shown_themselves_and_claim_no_interval(speed, said, tmp_path):
    text = written(measured.comparison(1.0, speed, pairs=2), tmp_path)
    each = sorted((1.98, 2.02), reverse=speed < 1)
    assert lead(text) == f"{said} (each {each[0]:.2f}×, {each[1]:.2f}×)."
    assert f"each {speed * 0.99:.3g}" in Page(text).text


def test_the_headline_at_equal_budgets_is_the_best_variant(tmp_path):
    text = written(measured.comparison(1.0, 2.0, 3.0, equal=True), tmp_path)
    assert lead(text) == (
        "gamma is at least 0.016 nats better than alpha (+0.020, 95 % interval +0.016 to +0.024, 5 pairs) "
        "at equal time (12.5 s)."
    )
    assert "beta is at least 0.006 nats better" in Page(text).text


def test_a_refused_variant_is_said_to_be_refused_and_has_no_ratio(tmp_path):
    comparison = measured.comparison(1.0, 5.9, 3.0)
    why = "1.88 was not reached at 8 times its 100 steps; its best is 1.931"
    refused = attrs.evolve(comparison.variants[1], saved={}, reached={}, refused=why)
    text = written(
        attrs.evolve(comparison, variants=(comparison.variants[0], refused, comparison.variants[2])), tmp_path
    )
    assert lead(text).startswith("gamma reaches 1.88 nats in at least")
    assert f"beta is refused: {why}." in Page(text).text
    assert "5.90" not in Page(text).text


def test_where_the_first_variant_is_refused_nothing_is_claimed(tmp_path):
    comparison = measured.comparison(1.0, 5.9)
    variants = (
        attrs.evolve(comparison.variants[0], reached={}, refused="it never got there"),
        attrs.evolve(comparison.variants[1], saved={}),
    )
    said = lead(written(attrs.evolve(comparison, variants=variants), tmp_path))
    assert said.startswith("alpha is refused: it never got there; ")


def test_losses_in_bits_are_called_so(tmp_path):
    comparison = measured.comparison(1.0, 5.9)
    goal = attrs.evolve(comparison.goal, loss=2.71, unit="bits/byte")
    text = written(attrs.evolve(comparison, goal=goal, ngram_baseline={}), tmp_path)
    assert lead(text).startswith("beta reaches 2.71 bits/byte in at least")
    assert "Held-out loss, bits/byte" in Page(text).text


def test_the_same_numbers_give_the_same_bytes(target, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert written(measured.comparison(1.0, 5.9), tmp_path) == target
        assert matplotlib.rcParams["font.size"] == 30


def test_what_is_not_finite_is_a_dash_and_breaks_nothing(tmp_path):
    comparison = measured.comparison(1.0, 5.9)
    trials = [
        attrs.evolve(comparison.trials[0], outcome=attrs.evolve(FAILED, costs={"flops": math.inf})),
        attrs.evolve(comparison.trials[1], outcome=FAILED, failed="the loss is nan"),
        *comparison.trials[2:],
    ]
    broken = Interval(math.nan, math.nan, math.nan, 5)
    variants = (
        comparison.variants[0],
        attrs.evolve(comparison.variants[1], loss=broken, saved={"seconds": broken}),
    )
    text = Page(written(attrs.evolve(comparison, trials=tuple(trials), variants=variants), tmp_path)).text
    assert "nan" not in text.replace("the loss is nan", "").split()
    assert "failed: the loss is nan" in text


def test_rounds_thrown_out_are_told(tmp_path):
    comparison = measured.comparison(1.0, 5.9)
    trials = (attrs.evolve(comparison.trials[3], kept=False), *comparison.trials)
    text = Page(written(attrs.evolve(comparison, trials=trials, thrown_out=1), tmp_path)).text
    assert "5 rounds, 1 more thrown out, 25 trainings" in text
    assert text.count("thrown out") >= 2


def test_names_are_escaped_everywhere(tmp_path):
    nasty = "<script>alert('&amp;')</script>$x^2$"
    comparison = measured.comparison(1.0, 5.9, names=(nasty, "\N{SNOWMAN} <b>"))
    spec = {"name": "</pre><script>", "model": {"mixer": {"use": "<i>&"}}}
    comparison = attrs.evolve(
        comparison,
        name=nasty,
        command="compare <a> && <b>",
        machine={"<u>": "</dd><script>"},
        variants=(attrs.evolve(comparison.variants[0], spec=spec, refused="<s>"), comparison.variants[1]),
    )
    page = Page(written(comparison, tmp_path))
    assert not {"script", "i>", "u", "s"} & set(page.tags)
    assert nasty in page.text
    assert "compare <a> && <b>" in page.text


def test_a_comparison_of_one_variant_and_no_trials_still_makes_a_page(tmp_path):
    comparison = attrs.evolve(measured.comparison(1.0), trials=(), ngram_baseline={}, machine={}, command="")
    text = written(comparison, tmp_path)
    assert lead(text) == "alpha ends at 1.879 nats/token."
    assert "<svg" not in text


# ---------------------------------------------------------------- what can go wrong


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(report_svg.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape('pip install "resnetbk[plots]"')):
        write_report(measured.comparison(1.0, 2.0), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write_report(measured.comparison(1.0, 2.0), tmp_path / "file" / "report.html")
    assert "\n" not in str(caught.value)
