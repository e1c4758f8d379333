"""Clips and opacity: gone where they change nothing, kept where they cut."""

from explorer.export import svg

HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 60">'
    '<defs><clipPath id="clip7"><rect x="0" y="0" width="100" height="50"/></clipPath></defs>'
)
CLIPPED = 'clip-path="url(#c1)"'


def prepared(inside: str, kind: str = "symbol") -> str:
    root = svg.parse(f'{HEAD}<g class="mark-{kind} role-mark" clip-path="url(#clip7)">{inside}</g></svg>')
    svg.prepare(root, "c")
    return svg.markup(root)


def dot(x: float, y: float, more: str = 'fill="red"') -> str:
    return f'<path transform="translate({x},{y})" d="M3,0A3,3,0,1,1,-3,0A3,3,0,1,1,3,0" {more}/>'


def test_a_clip_stays_on_the_marks_that_it_cuts() -> None:
    done = prepared(dot(50, 20) + dot(99, 20) + dot(50, 30))
    assert done.count(CLIPPED) == 1
    start = done.index(f"<g {CLIPPED}>")
    assert "translate(99,20)" in done[start : done.index("</g>", start)]
    assert done.index("translate(50,20)") < start < done.index("translate(50,30)"), "their order stays"


def test_a_clip_that_cuts_nothing_goes_with_its_definition() -> None:
    assert "clip" not in prepared(dot(50, 20) + dot(3, 3)).lower()
    assert "clip" not in prepared('<path d="M0,0h5v14h-5Z" fill="red"/>', "rect").lower()


def test_a_stroke_is_part_of_its_mark() -> None:
    assert CLIPPED in prepared(dot(3.5, 20, 'fill="red" stroke="white" stroke-width="1"'))
    rule = '<line transform="translate({},0)" x2="0" y2="50" stroke="red"/>'
    assert CLIPPED not in prepared(rule.format(50), "rule"), "it ends where the clip does"
    assert CLIPPED in prepared(rule.format(0), "rule")


def test_what_cannot_be_measured_stays_clipped() -> None:
    for mark in (
        '<path transform="rotate(9)" d="M1,1L2,2" fill="red"/>',
        '<path d="M1,1q2,2,3,3" fill="red"/>',
        "<text>a</text>",
    ):
        assert CLIPPED in prepared(mark)


def test_numbers_after_a_command_repeat_it() -> None:
    assert svg._points("M1,2,3,4L5,6,7,8") == [(1, 2), (3, 4), (5, 6), (7, 8)]
    assert svg._points("M1e1,-2.5h-3v.5Z") == [(10, -2.5), (7, -2.5), (7, -2)]


def test_marks_that_nobody_sees_are_left_out() -> None:
    unseen = dot(50, 20, 'stroke="red" opacity="0.001"') + dot(50, 20, 'fill="none"')
    faint = dot(50, 20, 'stroke="red" opacity="0.1"')
    assert prepared(unseen + faint).count("<path") == 1


def test_opacity_goes_to_the_only_ink() -> None:
    assert 'stroke-opacity="0.5"' in prepared(dot(9, 9, 'stroke="red" opacity="0.5"'))
    assert 'fill-opacity="0.5"' in prepared(dot(9, 9, 'fill="red" opacity="0.5"'))
    both = prepared(dot(9, 9, 'fill="red" stroke="red" opacity="0.5"'))
    assert ' opacity="0.5"' in both, "they would show through each other"


def test_ids_and_what_refers_to_them_change_together() -> None:
    root = svg.parse(
        f'{HEAD}<g clip-path="url(#clip7)"><linearGradient id="g"/><path fill="url(#g)"/>'
        '<use xlink:href="#g"/><use href="#g"/></g></svg>'
    )
    svg.prepare(root, "x-")
    done = svg.markup(root)
    assert 'id="x-1"' in done
    assert 'clip-path="url(#x-1)"' in done
    assert 'id="x-2"' in done
    assert 'fill="url(#x-2)"' in done
    assert done.count('href="#x-2"') == 2
    assert "xlink:href" in done
