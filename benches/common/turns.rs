//! Comparisons in which the API and a bare route take turns.

/// Has both sides take turns, for one round more than asked for: the first one opens connections, loads
/// functions and fills caches. Which side goes first changes from round to round.
pub async fn take_turns<T>(
    rounds: usize,
    mut api: impl AsyncFnMut(usize) -> T,
    mut bare: impl AsyncFnMut(usize) -> T,
) -> Vec<(T, T)> {
    let mut measured = Vec::new();
    for round in 0..=rounds {
        measured.push(match round % 2 {
            0 => (api(round).await, bare(round).await),
            _ => {
                let bare = bare(round).await;
                (api(round).await, bare)
            }
        });
    }
    measured
}

/// A figure of several rounds.
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

pub fn spread<T>(measured: &[T], of: impl Fn(&T) -> f64) -> Spread {
    let mut values: Vec<f64> = measured.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    Spread {
        median: values[values.len() / 2],
        least: values[0],
        most: values[values.len() - 1],
    }
}
