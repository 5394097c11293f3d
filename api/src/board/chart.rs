//! Charts over time, drawn on the server: they need no script, and the policy for styles stays
//! strict.

use maud::{Markup, html};
use sluice_queue::{History, Slice};

use super::parts::{grouped, took};

/// The size of the plane that is drawn on. It is stretched to the page's width.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 96.0;

/// One of the series of a chart.
pub(super) struct Series {
    pub name: &'static str,
    /// The class that gives it its colour.
    pub class: &'static str,
    /// What a slice says; none where nothing happened.
    pub value: fn(&Slice) -> Option<u64>,
}

/// What the numbers of a chart are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unit {
    Count,
    Millis,
}

impl Unit {
    fn show(self, value: u64) -> String {
        match self {
            Self::Count => grouped(value),
            Self::Millis => took(value),
        }
    }
}

/// Counts as bars that stand on each other.
pub(super) fn bars(title: &str, history: &History, series: &[Series]) -> Markup {
    let sum = |slice: &Slice| {
        series
            .iter()
            .filter_map(|it| (it.value)(slice))
            .sum::<u64>()
    };
    let most = history.slices.iter().map(sum).max().unwrap_or(0);
    let scale = HEIGHT / nice(most) as f64;
    let step = WIDTH / history.slices.len().max(1) as f64;
    let totals: Vec<u64> = series
        .iter()
        .map(|it| history.slices.iter().filter_map(it.value).sum())
        .collect();
    let drawing = html! {
        @for (index, slice) in history.slices.iter().enumerate() {
            @let mut top = HEIGHT;
            @for it in series {
                @let height = (it.value)(slice).unwrap_or(0) as f64 * scale;
                @if height > 0.0 {
                    // A bar that is there is seen.
                    @let height = height.max(1.5);
                    ({ top -= height; html! {
                        rect.(it.class) x=(round(index as f64 * step)) y=(round(top))
                            width=(round(step * 0.78)) height=(round(height)) {}
                    } })
                }
            }
        }
    };
    figure(title, history, series, &totals, most, Unit::Count, &drawing)
}

/// Times as lines, which break where nothing happened.
pub(super) fn lines(title: &str, history: &History, series: &[Series]) -> Markup {
    let values = series
        .iter()
        .flat_map(|it| history.slices.iter().filter_map(it.value));
    let most = values.max().unwrap_or(0);
    let scale = HEIGHT / nice(most) as f64;
    let step = WIDTH / history.slices.len().max(1) as f64;
    let peaks: Vec<u64> = series
        .iter()
        .map(|it| {
            history
                .slices
                .iter()
                .filter_map(it.value)
                .max()
                .unwrap_or(0)
        })
        .collect();
    let drawing = html! {
        @for it in series {
            @for run in runs(history, it) {
                @let points = run.iter().map(|&(index, value)| {
                    let x = index as f64 * step + step * 0.39;
                    (round(x), round(HEIGHT - value as f64 * scale))
                }).collect::<Vec<_>>();
                // One by itself is a line of no length, whose ends are round.
                @let points = if points.len() == 1 { vec![&points[0]; 2] } else { points.iter().collect() };
                @let path = points.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
                polyline.line.(it.class) points=(path) {}
            }
        }
    };
    figure(title, history, series, &peaks, most, Unit::Millis, &drawing)
}

/// The stretches of slices in which something happened, each as (index, value).
fn runs(history: &History, series: &Series) -> Vec<Vec<(usize, u64)>> {
    let mut runs: Vec<Vec<(usize, u64)>> = Vec::new();
    let mut is_open = false;
    for (index, slice) in history.slices.iter().enumerate() {
        let Some(value) = (series.value)(slice) else {
            is_open = false;
            continue;
        };
        match runs.last_mut().filter(|_| is_open) {
            Some(run) => run.push((index, value)),
            None => runs.push(vec![(index, value)]),
        }
        is_open = true;
    }
    runs
}

fn figure(
    title: &str,
    history: &History,
    series: &[Series],
    numbers: &[u64],
    most: u64,
    unit: Unit,
    drawing: &Markup,
) -> Markup {
    let ago = match history.period {
        sluice_queue::Period::Hour => ["60 min ago", "30 min", "now"],
        sluice_queue::Period::Day => ["24 h ago", "12 h", "now"],
    };
    let what = if unit == Unit::Count {
        "in all"
    } else {
        "at most"
    };
    let said = series
        .iter()
        .zip(numbers)
        .map(|(it, &number)| format!("{} {} {what}", it.name, unit.show(number)));
    let label = format!(
        "{title}, last {}: {}",
        history.period.as_str(),
        said.collect::<Vec<_>>().join(", ")
    );
    html! {
        figure.chart {
            figcaption {
                span.name { (title) }
                span.legend {
                    @for (it, &number) in series.iter().zip(numbers) {
                        span.key { i.(it.class) aria-hidden="true" {} (it.name) " " b { (unit.show(number)) } }
                    }
                }
            }
            div.plot {
                span.top aria-hidden="true" { (unit.show(nice(most))) }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                    line.grid x1="0" x2=(WIDTH) y1="0.5" y2="0.5" {}
                    line.grid x1="0" x2=(WIDTH) y1=(HEIGHT / 2.0) y2=(HEIGHT / 2.0) {}
                    line.grid x1="0" x2=(WIDTH) y1=(HEIGHT - 0.5) y2=(HEIGHT - 0.5) {}
                    (drawing)
                }
                div.axis aria-hidden="true" { @for text in ago { span { (text) } } }
            }
        }
    }
}

/// The next number that is easily read: 1, 2 or 5 with noughts. At least 1.
fn nice(most: u64) -> u64 {
    let mut power = 1;
    loop {
        for step in [1, 2, 5] {
            if step * power >= most {
                return step * power;
            }
        }
        power *= 10;
    }
}

fn round(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_queue::Period;

    fn history(completed: &[u64]) -> History {
        let slices = completed.iter().map(|&completed| Slice {
            completed,
            ..Slice::default()
        });
        History {
            period: Period::Hour,
            slices: slices.collect(),
        }
    }

    const COMPLETED: Series = Series {
        name: "completed",
        class: "good",
        value: |slice| Some(slice.completed).filter(|&it| it > 0),
    };

    #[test]
    fn the_top_of_a_chart_is_a_number_that_is_easily_read() {
        for (most, top) in [
            (0, 1),
            (1, 1),
            (3, 5),
            (10, 10),
            (11, 20),
            (499, 500),
            (501, 1000),
        ] {
            assert_eq!(nice(most), top);
        }
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let drawn = bars("Throughput", &history(&[0, 3, 1]), &[COMPLETED]).into_string();
        assert!(
            drawn.contains("aria-label=\"Throughput, last hour: completed 4 in all\""),
            "{drawn}"
        );
        assert_eq!(drawn.matches("<rect").count(), 2);
        assert!(!drawn.contains("style="));
    }

    #[test]
    fn a_line_breaks_where_nothing_happened() {
        let runs = runs(&history(&[1, 2, 0, 3]), &COMPLETED);
        assert_eq!(runs, [vec![(0, 1), (1, 2)], vec![(3, 3)]]);
    }
}
