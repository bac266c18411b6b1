//! Tables for people: aligned columns, cut to the width of the terminal, coloured if that is wanted.

use std::borrow::Cow;
use std::io::IsTerminal as _;

use liveoak_config::one_line;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::output::colour_on_stdout;

/// The space between two columns.
const GAP: usize = 2;
/// The smallest width to which the last column is cut.
const LEAST: usize = 12;

/// What a text looks like if colours are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// As it is.
    #[default]
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
    /// As wanted.
    Good,
    /// On its way, or not quite as wanted.
    Warn,
    /// Not as wanted.
    Bad,
}

impl Style {
    /// Returns the SGR parameters (ECMA-48).
    const fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Returns a cell with a style.
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::Plain)
    }
}

/// How stdout shows text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Colours are wanted.
    pub(crate) colour: bool,
    /// The width of the terminal. `None` for a pipe or a file, in which nothing is cut.
    pub(crate) width: Option<usize>,
}

impl Screen {
    /// Returns how stdout shows text.
    pub(crate) fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
        let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        Self { colour: colour_on_stdout(), width }
    }

    /// Returns a text in a style.
    pub(crate) fn styled(self, text: &str, style: Style) -> String {
        if self.colour && style != Style::Plain && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", style.sgr())
        } else {
            text.to_owned()
        }
    }
}

/// Returns a table with a headline. Control characters are escaped. Only the last column is cut.
pub(crate) fn table<const N: usize>(headline: [&str; N], rows: &[[Cell; N]], screen: Screen) -> String {
    let headline = headline.map(|text| Cell::new(text, Style::Bold));
    aligned(&[std::slice::from_ref(&headline), rows].concat(), screen)
}

/// Returns rows with aligned columns.
pub(crate) fn aligned<const N: usize>(rows: &[[Cell; N]], screen: Screen) -> String {
    let texts: Vec<[Cow<'_, str>; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| one_line(&cell.text))).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| texts.iter().map(|row| row[column].width()).max().unwrap_or(0));
    let before_last: usize = widths.iter().take(N.saturating_sub(1)).map(|width| width + GAP).sum();
    let room = screen.width.map(|width| width.saturating_sub(before_last).max(LEAST));
    let mut out = String::new();
    for (row, texts) in rows.iter().zip(&texts) {
        let last_filled = texts.iter().rposition(|text| !text.is_empty());
        for (column, text) in texts.iter().enumerate().take(last_filled.map_or(0, |last| last + 1)) {
            let text = match room {
                Some(room) if column + 1 == N => cut(text, room),
                _ => Cow::Borrowed(text.as_ref()),
            };
            out.push_str(&screen.styled(&text, row[column].style));
            if Some(column) != last_filled {
                out.push_str(&" ".repeat(widths[column].saturating_sub(text.width()) + GAP));
            }
        }
        out.push('\n');
    }
    out
}

/// Returns the beginning of a text that fits into a width.
fn cut(text: &str, room: usize) -> Cow<'_, str> {
    if text.width() <= room {
        return Cow::Borrowed(text);
    }
    let mut width = 1;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width <= room
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.truncate(kept.trim_end().len());
    Cow::Owned(kept + "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Screen = Screen { colour: false, width: None };

    #[test]
    fn columns_are_aligned_also_with_wide_characters_and_lines_have_no_blanks_at_their_end() {
        let rows: [[Cell; 3]; 3] = [
            ["/shop/漢字".into(), "running".into(), "".into()],
            ["/shop/é".into(), "".into(), "a note".into()],
            ["/shop/x".into(), "".into(), "".into()],
        ];
        expect_test::expect![[r#"
            CHILD       STATE    NOTE
            /shop/漢字  running
            /shop/é              a note
            /shop/x
        "#]]
        .assert_eq(&table(["CHILD", "STATE", "NOTE"], &rows, PIPE));
    }

    #[test]
    fn only_the_last_column_is_cut_and_only_on_a_terminal() {
        let rows: [[Cell; 2]; 1] = [["/shop/a".into(), "waits for /shop/db: ready".into()]];
        let at = |width| aligned(&rows, Screen { colour: false, width: Some(width) });
        assert_eq!(at(24), "/shop/a  waits for /sho…\n");
        assert_eq!(at(34), "/shop/a  waits for /shop/db: ready\n");
        assert_eq!(at(5), "/shop/a  waits for /…\n");
        assert_eq!(aligned(&rows, PIPE), "/shop/a  waits for /shop/db: ready\n");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
    }

    #[test]
    fn text_of_a_tree_gives_a_terminal_no_orders_and_colours_do_not_shift_columns() {
        let rows: [[Cell; 2]; 2] =
            [[Cell::new("\u{1b}[2J", Style::Bad), "x".into()], ["bb\n".into(), "y".into()]];
        let text = aligned(&rows, Screen { colour: true, width: None });
        assert_eq!(text, "\u{1b}[31m\\u{1b}[2J\u{1b}[0m  x\nbb\\n       y\n");
    }
}
