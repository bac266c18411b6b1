//! Finds shell syntax in a command of one string: variables, globs, assignments, operators, builtins.
//!
//! A `command` is split into words as a shell would, but nothing is expanded. So shell syntax is an error. Characters in
//! `'…'` and after `\` are literal. In `"…"`, only `$` and a backquote have a meaning, as in a shell. A character
//! that a shell would usually not change is not an error: `?` in a URL, `*` in `--exclude=*.tmp`, a `$` at the end of a word.

use crate::diagnostic::Span;

/// Operators of a shell. As a separate word, each of them is almost always a mistake.
const OPERATORS: [&str; 13] = ["|", "||", "&&", "&", ">", ">>", "<", "<<", "2>", "2>&1", ";", ";;", "|&"];

/// One piece of shell syntax.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShellSyntax {
    /// The place in the command.
    pub(crate) range: Span,
    /// What it is.
    pub(crate) kind: Kind,
}

/// The kinds of shell syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `|`, `&&`, `> file`, ...
    Operator,
    /// `NAME=value` in front of the program; the range is the name and the `=`.
    Assignment,
    /// `$NAME`, `${NAME}`, `$(command)` or a command in backquotes.
    Expansion,
    /// `*` or `?` in a file name.
    Glob,
    /// `~` in front of a path.
    Home,
    /// A command that only a shell has, as the program.
    Builtin,
}

/// Whether a character is in quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoted {
    Not,
    InDouble,
    /// In single quotes, or after `\`.
    Literally,
}

/// A word of a command before its quotes are removed.
struct RawWord<'t> {
    /// The text of the word with its quotes.
    text: &'t str,
    /// The command from this word on: a `$(...)` ends in a later word.
    rest: &'t str,
    /// Where it stands in the command.
    start: usize,
    /// Its characters without the quotes around them, each with its offset in `text`.
    chars: Vec<(usize, char, Quoted)>,
}

/// Returns the first shell syntax in a command.
pub(crate) fn find(command: &str) -> Option<ShellSyntax> {
    let words = raw_words(command);
    let in_first = words.first().and_then(RawWord::as_program);
    in_first.or_else(|| words.iter().enumerate().find_map(|(number, word)| word.find(number == 0)))
}

/// Returns the advice for a builtin command of a shell. A program of the same name may exist, but it could change only its own
/// process.
pub(crate) fn advice_for_builtin(word: &str) -> Option<&'static str> {
    Some(match word {
        "cd" | "pushd" | "popd" => "write the folder as cwd = \"...\", and only the program as `command`",
        "source" | "." => "write variables into `env_file`, or the whole line as shell = \"...\"",
        "export" | "declare" | "typeset" | "local" | "readonly" => {
            "write variables as env = { NAME = \"...\" }"
        }
        "exec" => "leave `exec` out: no shell stands between Liveoak and the program",
        "ulimit" | "umask" => {
            "write it in front of the program in a shell: shell = \"ulimit -n 4096; exec server\""
        }
        ":" => "write command = \"true\", a program that does nothing",
        "alias" | "unalias" | "eval" | "set" | "unset" | "shift" | "trap" | "wait" | "return" | "break"
        | "continue" | "read" | "exit" | "fg" | "bg" | "jobs" | "disown" | "coproc" | "builtin" | "shopt"
        | "let" | "if" | "for" | "while" | "until" | "case" | "function" | "select" | "[[" | "((" | "{"
        | "(" | "!" => "write the whole line as shell = \"...\"",
        _ => return None,
    })
}

/// Splits a command into words, as a shell would. An open quote ends with the text.
fn raw_words(command: &str) -> Vec<RawWord<'_>> {
    let mut words = Vec::new();
    let mut chars = command.char_indices().peekable();
    while let Some(&(start, c)) = chars.peek() {
        match c {
            ' ' | '\t' | '\n' => {
                chars.next();
            }
            '#' => while chars.next_if(|&(_, c)| c != '\n').is_some() {},
            _ => words.push(raw_word(command, start, &mut chars)),
        }
    }
    words
}

fn raw_word<'t>(
    command: &'t str,
    start: usize,
    chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
) -> RawWord<'t> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut end = command.len();
    while let Some(&(at, c)) = chars.peek() {
        if quote.is_none() && matches!(c, ' ' | '\t' | '\n') {
            end = at;
            break;
        }
        chars.next();
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (_, Some('\'')) => found.push((at - start, c, Quoted::Literally)),
            ('\\', _) => found.extend(chars.next().map(|(at, c)| (at - start, c, Quoted::Literally))),
            (_, Some(_)) => found.push((at - start, c, Quoted::InDouble)),
            (_, None) => found.push((at - start, c, Quoted::Not)),
        }
    }
    RawWord { text: &command[start..end], rest: &command[start..], start, chars: found }
}

impl RawWord<'_> {
    /// Returns `true` if the word has neither quotes nor escapes.
    fn is_bare(&self) -> bool {
        self.chars.len() == self.text.chars().count()
            && self.chars.iter().all(|(.., quoted)| *quoted == Quoted::Not)
    }

    fn at(&self, range: Span, kind: Kind) -> ShellSyntax {
        ShellSyntax { range: self.start + range.start..self.start + range.end, kind }
    }

    /// Returns the shell syntax that the word would be as the program.
    fn as_program(&self) -> Option<ShellSyntax> {
        let name_end = self.chars.iter().position(|&(_, c, quoted)| quoted != Quoted::Not || !is_name(c));
        let is_assignment = |&end: &usize| {
            let (_, c, quoted) = self.chars[end];
            end > 0 && c == '=' && quoted == Quoted::Not && !self.chars[0].1.is_ascii_digit()
        };
        if let Some(end) = name_end.filter(is_assignment) {
            return Some(self.at(0..self.chars[end].0 + 1, Kind::Assignment));
        }
        (self.is_bare() && advice_for_builtin(self.text).is_some())
            .then(|| self.at(0..self.text.len(), Kind::Builtin))
    }

    /// Returns the first shell syntax in the word.
    fn find(&self, is_program: bool) -> Option<ShellSyntax> {
        self.operator(is_program).or_else(|| self.home(is_program)).or_else(|| {
            (0..self.chars.len()).find_map(|index| match self.chars[index] {
                (_, _, Quoted::Literally) => None,
                (at, '$', _) => self.expansion(index).map(|length| self.at(at..at + length, Kind::Expansion)),
                (at, '`', _) => {
                    let end = self.rest[at + 1..].find('`').map_or(self.text.len(), |end| at + end + 2);
                    Some(self.at(at..end, Kind::Expansion))
                }
                (at, c @ ('*' | '?'), Quoted::Not) if self.is_glob(at, c) => {
                    Some(self.at(0..self.text.len(), Kind::Glob))
                }
                _ => None,
            })
        })
    }

    /// Returns an operator that the word is, begins with or ends with.
    fn operator(&self, is_program: bool) -> Option<ShellSyntax> {
        let whole = || self.at(0..self.text.len(), Kind::Operator);
        if self.is_bare() && OPERATORS.contains(&self.text) {
            return Some(whole());
        }
        let bare = |index: usize| {
            self.chars.get(index).filter(|(.., quoted)| *quoted == Quoted::Not).map(|found| found.1)
        };
        let redirects = |index| matches!(bare(index), Some('<' | '>'));
        if redirects(0) || (matches!(bare(0), Some('0'..='9' | '&')) && redirects(1)) {
            return Some(whole());
        }
        if is_program && bare(0) == Some('(') {
            return Some(self.at(0..1, Kind::Operator));
        }
        let is_url = self.text.contains("://");
        // A single `&`, `|` or `;` inside a word is often part of a pattern or an address. A double one is not.
        let double = (0..self.chars.len()).find(|&index| {
            matches!((bare(index), bare(index + 1)), (Some('&'), Some('&')) | (Some('|'), Some('|')))
        });
        if let Some(index) = double.filter(|_| !is_url) {
            let at = self.chars[index].0;
            return Some(self.at(at..at + 2, Kind::Operator));
        }
        let &(at, last, quoted) = self.chars.last()?;
        let ends = quoted == Quoted::Not && (last == ';' || (last == '&' && !is_url));
        ends.then(|| self.at(at..at + 1, Kind::Operator))
    }

    /// Returns `~` at the start of an argument that is a path. The program is checked where its path is made absolute.
    fn home(&self, is_program: bool) -> Option<ShellSyntax> {
        let bare = |index: usize| {
            self.chars.get(index).filter(|(.., quoted)| *quoted == Quoted::Not).map(|found| found.1)
        };
        let is_home = !is_program && bare(0) == Some('~') && (self.chars.len() == 1 || bare(1) == Some('/'));
        is_home.then(|| self.at(0..1, Kind::Home))
    }

    /// Returns the length of `$NAME`, `${NAME}` or `$(command)` at a `$`. A word that is `$$`, `$1` or the like counts too.
    fn expansion(&self, index: usize) -> Option<usize> {
        let (at, _, quoted) = self.chars[index];
        let &(next_at, next, next_quoted) = self.chars.get(index + 1)?;
        // `$` before a quote is literal.
        if next_at != at + 1 || next_quoted != quoted {
            return None;
        }
        let rest = &self.text[at..];
        let up_to = |close: char| Some(self.rest[at..].find(close).map_or(rest.len(), |end| end + 1));
        match next {
            '{' => up_to('}'),
            '(' => up_to(')'),
            c if is_name(c) && !c.is_ascii_digit() => {
                Some(rest[1..].find(|c| !is_name(c)).map_or(rest.len(), |end| end + 1))
            }
            '$' | '@' | '*' | '?' | '!' | '#' | '0'..='9' if self.chars.len() == 2 => Some(2),
            _ => None,
        }
    }

    /// Returns `true` if a shell would look for files of that name, and probably find some.
    fn is_glob(&self, at: usize, c: char) -> bool {
        let (before, after) = (&self.text[..at], &self.text[at + 1..]);
        // An option, an assignment, a URL, an address such as `*:80`, or a call is not the name of a file.
        let is_other = self.text.starts_with('-')
            || before.contains(['=', '('])
            || self.text.contains("://")
            || after.starts_with(':');
        !is_other && (c == '*' || self.text.contains(['/', '.']))
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the kind and the text of what is found.
    fn found(command: &str) -> Option<(Kind, &str)> {
        find(command).map(|found| (found.kind, &command[found.range]))
    }

    #[test]
    fn shell_syntax_is_found_with_its_place() {
        for (command, kind, text) in [
            ("server $PORT", Kind::Expansion, "$PORT"),
            ("server --port=$PORT/x", Kind::Expansion, "$PORT"),
            ("server ${PORT:-80} x", Kind::Expansion, "${PORT:-80}"),
            ("server \"$HOME/data\"", Kind::Expansion, "$HOME"),
            ("$HOME/bin/run", Kind::Expansion, "$HOME"),
            ("kill $(cat pid) x", Kind::Expansion, "$(cat pid)"),
            ("kill $(cat", Kind::Expansion, "$(cat"),
            ("kill \"$(cat pid)\"", Kind::Expansion, "$(cat pid)"),
            ("echo `date -u` x", Kind::Expansion, "`date -u`"),
            ("echo \"`date`\"", Kind::Expansion, "`date`"),
            ("echo $$", Kind::Expansion, "$$"),
            ("run $1", Kind::Expansion, "$1"),
            ("cat *.log", Kind::Glob, "*.log"),
            ("cat logs/*", Kind::Glob, "logs/*"),
            ("cat *", Kind::Glob, "*"),
            ("cat file?.txt", Kind::Glob, "file?.txt"),
            ("cat ~/notes", Kind::Home, "~"),
            ("ls ~", Kind::Home, "~"),
            ("MODE=dev server", Kind::Assignment, "MODE="),
            ("A= B=2 server", Kind::Assignment, "A="),
            ("A='x y' server", Kind::Assignment, "A="),
            ("A=1", Kind::Assignment, "A="),
            ("cd data && server", Kind::Builtin, "cd"),
            (". ./env.sh", Kind::Builtin, "."),
            ("exec server", Kind::Builtin, "exec"),
            (": nothing", Kind::Builtin, ":"),
            ("if true", Kind::Builtin, "if"),
            ("exit 1", Kind::Builtin, "exit"),
            ("a&&b", Kind::Operator, "&&"),
            ("make build||make all", Kind::Operator, "||"),
            ("a b&&c d", Kind::Operator, "&&"),
            ("a | b", Kind::Operator, "|"),
            ("a; b", Kind::Operator, ";"),
            ("server >out", Kind::Operator, ">out"),
            ("server 2>/dev/null", Kind::Operator, "2>/dev/null"),
            ("server &>log", Kind::Operator, "&>log"),
            ("server <in", Kind::Operator, "<in"),
            ("server&", Kind::Operator, "&"),
            ("(a)", Kind::Operator, "("),
        ] {
            assert_eq!(found(command), Some((kind, text)), "{command}");
        }
    }

    #[test]
    fn words_that_a_shell_would_not_change_are_not_errors() {
        for command in [
            "server '$PORT' '`x`' '*.log' '~/x' 'a | b'",
            "server \\$PORT \\* \\`x\\` \\~/x \\| \\> a\\;",
            "server \"*.log\" \"~/x\" \"a;\" \"costs $5\" \"100$\" \"\\$HOME\"",
            "server $ a$ $\"a\" a$'b' price=$5",
            "grep ^a$ file",
            "curl http://localhost/?a=b&c=d",
            "curl http://localhost/a?b=c&",
            "server --bind *:8000 tcp://*:5555",
            "rsync --exclude=*.tmp -x* a b",
            "pip install 'a>=1' b~=1.0 c[extra]",
            "git show HEAD~1 a~b",
            "env MODE=dev server",
            "./cd x",
            "/bin/exec",
            "'cd' x",
            "\"exec\" x",
            "A-B=1",
            "1A=2",
            "./a=b",
            "=x",
            "echo cd exec source",
            "echo a=b ready? what:*:8 {replica} {a,b}",
            "echo a-> ->b a>b a|b x&y http://localhost/?a&&b",
            "awk 'a&&b' \"c||d\" e\\&\\&f",
            "server # $HOME | *",
            "count(*)",
            "",
        ] {
            assert_eq!(found(command), None, "{command}");
        }
    }

    proptest! {
        #[test]
        fn the_words_equal_the_words_into_which_the_command_is_split(command in "[a$`*~'\"\\\\ #=|\n;ö]{0,12}") {
            let words: Vec<String> = raw_words(&command)
                .iter()
                // A line end after a backslash joins two lines. In double quotes only some characters are escaped.
                .map(|word| word.chars.iter().map(|(_, c, _)| *c).collect())
                .collect();
            if let Some(split) = shlex::split(&command).filter(|_| !command.contains('\\')) {
                prop_assert_eq!(words, split);
            }
        }

        #[test]
        fn the_place_of_shell_syntax_is_inside_the_command(command in "([a$`*~'\"\\\\ #=|\n;ö<>&(){}?]|cd|://){0,12}") {
            if let Some(found) = find(&command) {
                prop_assert!(command.get(found.range.clone()).is_some_and(|text| !text.is_empty()), "{found:?}");
            }
        }

        #[test]
        fn a_word_in_single_quotes_is_never_an_error(word in "[a$`*~\"\\\\ #=|\n;<>&(){}?]{0,12}") {
            prop_assert_eq!(find(&format!("'{word}' x '{word}'")), None);
        }
    }
}
