//! The words for people: how long, which state, and what there is to say about a child.

use liveoak::api::{Child, Health, State, Status, TreeState};

use super::table::{Cell, Style};

/// Returns a length of time in at most two units.
pub(crate) fn span(seconds: f64) -> String {
    // Negative and NaN become 0, too large becomes the largest: lengths of time on the wire are seconds as numbers.
    let millis = (seconds * 1000.0).round() as u64;
    let whole = millis / 1000;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86400);
    let two = |large: u64, of_large: &str, small: u64, of_small: &str| match small {
        0 => format!("{large}{of_large}"),
        _ => format!("{large}{of_large}{small}{of_small}"),
    };
    match whole {
        0 => format!("{millis}ms"),
        1..10 => format!("{}.{}s", whole, millis % 1000 / 100).replace(".0s", "s"),
        10..60 => format!("{whole}s"),
        60..3600 => two(minutes, "m", whole % 60, "s"),
        3600..86400 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// Returns a number and the word that it counts.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// Returns the name of a tree without a slash.
pub(crate) fn tree_name(status: &Status) -> &str {
    status.tree.trim_start_matches('/')
}

/// Returns `true` if a sentence names a path already.
pub(crate) fn names(sentence: &str, path: &str) -> bool {
    sentence.contains(path)
}

/// Returns the state of a child as a cell.
pub(crate) fn state(child: &Child) -> Cell {
    Cell::new(child.state.as_str(), state_style(child.state))
}

pub(crate) const fn state_style(state: State) -> Style {
    match state {
        State::Running => Style::Good,
        State::Waiting | State::Starting | State::BackingOff | State::Stopping | State::Paused => Style::Warn,
        State::Stopped | State::Finished => Style::Dim,
        State::Quarantined => Style::Bad,
    }
}

pub(crate) const fn tree_style(state: TreeState) -> Style {
    match state {
        TreeState::Alive => Style::Good,
        TreeState::Starting | TreeState::Stopping => Style::Warn,
        TreeState::Completed => Style::Plain,
        TreeState::Failed => Style::Bad,
    }
}

/// Returns the health as a cell. A child of which nothing is known has none.
pub(crate) fn health(health: Health) -> Cell {
    match health {
        Health::Healthy => Cell::new(health.as_str(), Style::Good),
        Health::Degraded => Cell::new(health.as_str(), Style::Warn),
        Health::Unhealthy => Cell::new(health.as_str(), Style::Bad),
        Health::Unknown => Cell::new("-", Style::Dim),
    }
}

/// Returns the path of a child and its title.
pub(crate) fn titled(path: &str, title: Option<&str>) -> String {
    title.map_or_else(|| path.to_owned(), |title| format!("{path} ({title})"))
}

/// Returns what there is to say about a child that its state does not say.
pub(crate) fn note(child: &Child) -> String {
    let mut notes: Vec<String> = Vec::new();
    if child.paused && child.state != State::Paused {
        notes.push("paused".to_owned());
    }
    if let Some(stuck) = &child.stuck {
        notes.push(format!("stuck at {stuck}"));
    }
    let exit = child.last_exit.as_ref();
    let left = child.remaining_s.map(span);
    match child.state {
        State::Waiting => notes.extend(child.waiting_for.iter().map(|wait| {
            let left = wait.remaining_s.map_or(String::new(), |left| format!(", {} left", span(left)));
            format!("waits for {}: {}{left}", wait.path, wait.condition)
        })),
        State::BackingOff => notes.extend(left.map(|left| format!("starts in {left}"))),
        State::Starting | State::Stopping => notes.extend(left.map(|left| format!("{left} left"))),
        State::Stopped if child.why == "not-wanted" => notes.push("not wanted by the mode".to_owned()),
        State::Stopped if child.why == "down" => notes.push("down with its supervisor".to_owned()),
        State::Stopped if child.why != "stopped" => notes.push(child.why.clone()),
        State::Quarantined => {
            notes.extend(child.retry_s.map(|retry| format!("tried again in {}", span(retry))));
        }
        State::Running if !child.ready => notes.push("not ready".to_owned()),
        State::Running | State::Stopped | State::Finished | State::Paused => {}
    }
    notes.extend(child.health_reason.clone());
    let tells_exit = match child.state {
        State::Running | State::Starting | State::Waiting => child.restarts > 0,
        State::Stopped | State::Stopping => false,
        State::BackingOff | State::Finished | State::Quarantined | State::Paused => true,
    };
    notes.extend(exit.filter(|exit| tells_exit && (exit.failure || child.state == State::Finished)).map(
        |exit| {
            if child.state == State::Finished {
                exit.text.clone()
            } else {
                format!("last exit: {}", exit.text)
            }
        },
    ));
    if child.is_parent() && notes.is_empty() {
        notes.push(child.kind.clone());
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_at_most_two_units() {
        let all = [
            (0.0, "0ms"),
            (0.4, "400ms"),
            (1.0, "1s"),
            (2.34, "2.3s"),
            (59.0, "59s"),
            (60.0, "1m"),
            (192.0, "3m12s"),
            (11_520.0, "3h12m"),
            (180_000.0, "2d2h"),
            (-1.0, "0ms"),
            (f64::NAN, "0ms"),
        ];
        for (seconds, text) in all {
            assert_eq!(span(seconds), text);
        }
        assert!(span(f64::INFINITY).ends_with('h'));
    }
}
