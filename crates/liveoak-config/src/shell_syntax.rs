//! Finds shell syntax in a command of one string: variables, globs, assignments, operators, builtins.
//!
//! A `command` is split into words as a shell would, but nothing is expanded. So shell syntax is an
//! error, wherever it stands. Characters in `'…'` and after `\` are literal. In `"…"`, only `$` and a backquote
//! have a meaning, as in a shell. What a shell would leave alone is not an error: a `$` at the end of a word, `~` inside a
//! word, `{replica}`.

use crate::diagnostic::Span;

/// The characters that end a word in a shell, and mean something themselves.
const OPERATORS: [char; 7] = ['|', '&', ';', '<', '>', '(', ')'];

/// One piece of shell syntax.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShellSyntax {
    /// The place in the command.
    pub(crate) range: Span,
    /// What it is.
    pub(crate) kind: Kind,
    /// `true` if it stands in `"..."`.
    pub(crate) in_double: bool,
}

/// The kinds of shell syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `|`, `&&`, `;`, `> file`, `(`, ...
    Operator,
    /// `NAME=value` in front of the program; the range is the name and the `=`.
    Assignment,
    /// `$NAME`, `${NAME}`, `$(command)`, `$1` or a command in backquotes.
    Expansion,
    /// `*`, `?` or `[...]`.
    Glob,
    /// `{a,b}` or `{1..3}`.
    Braces,
    /// `~` or `~name` in front of a path.
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
        "ulimit" => "write it in front of the program in a shell: shell = \"ulimit -n 4096; exec server\"",
        "umask" => "write it in front of the program in a shell: shell = \"umask 027; exec server\"",
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
        let in_double =
            self.chars.iter().any(|&(at, _, quoted)| at == range.start && quoted == Quoted::InDouble);
        ShellSyntax { range: self.start + range.start..self.start + range.end, kind, in_double }
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
        let home = self.home(is_program);
        home.or_else(|| (0..self.chars.len()).find_map(|index| self.special(index)))
    }

    /// Returns what the character at `index` begins, if only a shell understands it.
    fn special(&self, index: usize) -> Option<ShellSyntax> {
        let whole = |kind| self.at(0..self.text.len(), kind);
        match self.chars[index] {
            (_, _, Quoted::Literally) => None,
            (at, '$', _) => self.expansion(index).map(|length| self.at(at..at + length, Kind::Expansion)),
            (at, '`', _) => {
                let end = self.rest[at + 1..].find('`').map_or(self.text.len(), |end| at + end + 2);
                Some(self.at(at..end, Kind::Expansion))
            }
            (_, _, Quoted::InDouble) => None,
            (_, '*' | '?', _) => Some(whole(Kind::Glob)),
            (_, '[', _) if self.is_set(index) => Some(whole(Kind::Glob)),
            (_, '{', _) if self.are_braces(index) => Some(whole(Kind::Braces)),
            (_, c, _) if OPERATORS.contains(&c) => Some(self.operator(index)),
            _ => None,
        }
    }

    /// Returns the character at `index`, if it has no quotes.
    fn bare(&self, index: usize) -> Option<char> {
        self.chars.get(index).filter(|(.., quoted)| *quoted == Quoted::Not).map(|found| found.1)
    }

    /// Returns the operator at `first`, the first one of the word: a redirection with its whole word, or the operator alone.
    fn operator(&self, first: usize) -> ShellSyntax {
        let is_operator = |index: usize| self.bare(index).is_some_and(|c| OPERATORS.contains(&c));
        let begins = (0..first).all(|index| self.bare(index).is_some_and(|c| c.is_ascii_digit()));
        let redirects = |index| matches!(self.bare(index), Some('<' | '>'));
        if begins && (redirects(first) || (self.bare(first) == Some('&') && redirects(first + 1))) {
            return self.at(0..self.text.len(), Kind::Operator);
        }
        let is_paren = |index| matches!(self.bare(index), Some('(' | ')'));
        let mut last = first;
        while !is_paren(first) && is_operator(last + 1) && !is_paren(last + 1) {
            last += 1;
        }
        self.at(self.chars[first].0..self.chars[last].0 + 1, Kind::Operator)
    }

    /// Returns `~` or `~name` at the start of an argument, or `~` as the value in `NAME=~/path`. The program is checked where
    /// its path is made absolute.
    fn home(&self, is_program: bool) -> Option<ShellSyntax> {
        let assigned = self.chars.iter().position(|(_, c, _)| *c == '=').filter(|&end| {
            (0..end).all(|index| self.bare(index).is_some_and(is_name)) && end > 0 && self.bare(end).is_some()
        });
        let start = assigned.map_or(0, |end| end + 1);
        if is_program || self.bare(start) != Some('~') {
            return None;
        }
        let named = |&(_, c, quoted): &(usize, char, Quoted)| {
            quoted == Quoted::Not && (is_name(c) || matches!(c, '.' | '-' | '+'))
        };
        let after = self.chars[start + 1..].iter().find(|found| !named(found));
        let at = self.chars[start].0;
        matches!(after, None | Some((_, '/', _))).then(|| self.at(at..at + 1, Kind::Home))
    }

    /// Returns `true` if the `[` at `index` begins a set of characters: a `]` follows that does not stand directly behind it.
    /// An IPv6 address such as `[::1]` is no set.
    fn is_set(&self, index: usize) -> bool {
        let end = (index + 2..self.chars.len()).find(|&end| self.bare(end) == Some(']'));
        end.is_some_and(|end| {
            let inner: String = self.chars[index + 1..end].iter().map(|(_, c, _)| *c).collect();
            let address = inner.split('%').next().unwrap_or_default();
            address.parse::<std::net::Ipv6Addr>().is_err()
        })
    }

    /// Returns `true` if the `{` at `index` begins a list or a range: `{a,b}`, `{1..3}`.
    fn are_braces(&self, index: usize) -> bool {
        let mut depth = 0;
        let mut has_comma = false;
        for at in index..self.chars.len() {
            match self.bare(at) {
                Some('{') => depth += 1,
                Some(',') if depth == 1 => has_comma = true,
                Some('}') if depth == 1 => return has_comma || self.is_range(index + 1, at),
                Some('}') => depth -= 1,
                _ => {}
            }
        }
        false
    }

    /// Returns `true` for `1..3` and `a..z`.
    fn is_range(&self, start: usize, end: usize) -> bool {
        let inner: Option<String> = (start..end).map(|index| self.bare(index)).collect();
        let is_end = |text: &str| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number || (text.len() == 1 && text.as_bytes()[0].is_ascii_alphabetic())
        };
        inner.is_some_and(|inner| {
            let parts: Vec<&str> = inner.split("..").collect();
            matches!(parts.len(), 2 | 3) && parts.into_iter().all(is_end)
        })
    }

    /// Returns the length of `$NAME`, `${NAME}`, `$(command)`, `$1`, `$'...'` or the like at a `$`.
    fn expansion(&self, index: usize) -> Option<usize> {
        let (at, _, quoted) = self.chars[index];
        let rest = &self.text[at..];
        if quoted == Quoted::Not && rest[1..].starts_with(['\'', '"']) {
            return Some(2);
        }
        let &(next_at, next, next_quoted) = self.chars.get(index + 1)?;
        // `$` before the end of its quotes stands for itself.
        if next_at != at + 1 || next_quoted != quoted {
            return None;
        }
        let up_to = |close: char| Some(self.rest[at..].find(close).map_or(rest.len(), |end| end + 1));
        match next {
            '{' => up_to('}'),
            '(' => up_to(')'),
            c if is_name(c) && !c.is_ascii_digit() => {
                Some(rest[1..].find(|c| !is_name(c)).map_or(rest.len(), |end| end + 1))
            }
            '$' | '@' | '*' | '?' | '!' | '#' | '-' | '0'..='9' => Some(2),
            _ => None,
        }
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
    fn what_a_shell_treats_specially_without_quotes_is_found_with_its_place() {
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
            ("server 2>&1", Kind::Operator, "2>&1"),
            ("server <in", Kind::Operator, "<in"),
            ("server&", Kind::Operator, "&"),
            ("a|b", Kind::Operator, "|"),
            ("a>b", Kind::Operator, ">"),
            ("a&b", Kind::Operator, "&"),
            ("a;b", Kind::Operator, ";"),
            ("a<b", Kind::Operator, "<"),
            ("x a->b", Kind::Operator, ">"),
            ("x a>&2", Kind::Operator, ">&"),
            ("x 12>out", Kind::Operator, "12>out"),
            ("count(*)", Kind::Operator, "("),
            ("echo a)", Kind::Operator, ")"),
            ("curl http://localhost/a&c=d", Kind::Operator, "&"),
            ("curl http://localhost/?a=b&c=d", Kind::Glob, "http://localhost/?a=b&c=d"),
            ("pip install a>=1", Kind::Operator, ">"),
            ("curl http://localhost/?a=b", Kind::Glob, "http://localhost/?a=b"),
            ("server --bind *:8000", Kind::Glob, "*:8000"),
            ("rsync --exclude=*.tmp a b", Kind::Glob, "--exclude=*.tmp"),
            ("echo ready?", Kind::Glob, "ready?"),
            ("cat [ab].log", Kind::Glob, "[ab].log"),
            ("pip install c[extra]", Kind::Glob, "c[extra]"),
            ("cat [!a-z]*", Kind::Glob, "[!a-z]*"),
            ("cp a.{txt,md} x", Kind::Braces, "a.{txt,md}"),
            ("echo {a,b}", Kind::Braces, "{a,b}"),
            ("echo {{a},b}", Kind::Braces, "{{a},b}"),
            ("echo {1..3} {replica}", Kind::Braces, "{1..3}"),
            ("echo {a..z..2}", Kind::Braces, "{a..z..2}"),
            ("curl -d {\"a\":1,\"b\":2}", Kind::Braces, "{\"a\":1,\"b\":2}"),
            ("ls ~root/x", Kind::Home, "~"),
            ("server dir=~/x", Kind::Home, "~"),
            ("echo price=$5", Kind::Expansion, "$5"),
            ("echo \"costs $5\"", Kind::Expansion, "$5"),
            ("echo a$'b'", Kind::Expansion, "$'"),
            ("echo $\"a\"", Kind::Expansion, "$\""),
            ("(a)", Kind::Operator, "("),
        ] {
            assert_eq!(found(command), Some((kind, text)), "{command}");
        }
    }

    #[test]
    fn words_that_a_shell_leaves_alone_are_not_errors() {
        for command in [
            "server '$PORT' '`x`' '*.log' '~/x' 'a | b'",
            "server \\$PORT \\* \\`x\\` \\~/x \\| \\> a\\;",
            "server \"*.log\" \"~/x\" \"a;\" \"costs \\$5\" \"100$\" \"\\$HOME\" \"[a]{b,c}\"",
            "server $ a$",
            "grep ^a$ file",
            "curl 'http://localhost/?a=b&c=d' \"http://localhost/?a&b\" http://localhost/%3Fa\\&b",
            "server --bind '*:8000' tcp://'*':5555",
            "pip install 'a>=1' b~=1.0 'c[extra]' d\\[x\\]",
            "server --bind [::]:80 --peer=[fe80::1%eth0]:80 http://[::1]:8080/ [::ffff:1.2.3.4]",
            "git show HEAD~1 a~b ~=1 --dir=~/x x:~/y",
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
            "echo a=b {replica} {{replica}} {a} {} {a,b a,b} {a..} {..} {a.b} {'a,b'} {a\\,b}",
            "[ -f x ] a[ ]b [] [",
            "echo a,b a-b a+b a%b a!b a^b a@b a#b",
            "awk 'a&&b' \"c||d\" e\\&\\&f",
            "server # $HOME | *",
            "",
        ] {
            assert_eq!(found(command), None, "{command}");
        }
    }

    proptest! {
        #[test]
        fn the_words_that_the_shell_check_sees_are_those_into_which_the_command_is_split(command in "[a$`*~'\"\\\\ #=|\n;ö]{0,12}") {
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
