//! Hides values of variables in the lines that errors show: the values are often secrets, and errors end up in logs.
//!
//! This works on text and not on the parsed table, because the lines of a file that is not TOML are shown too. When in
//! doubt, it hides more than necessary. Each hidden byte becomes a `*`, so the places in the text do not change.

use std::ops::Range;

/// Returns the text of a `liveoak.toml` without the values of `env` tables.
pub(crate) fn without_env(text: &str) -> String {
    let mut hidden = Hider::default();
    let mut in_env_table = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        if hidden.goes_on() {
            hidden.hide_from(line, 0);
        } else if bare.starts_with('[') {
            in_env_table = is_env_header(bare);
            hidden.keep(line);
        } else if in_env_table && !bare.starts_with('#') {
            let from = line.find('=').map_or(0, |at| at + 1);
            hidden.keep(&line[..from]);
            hidden.hide_from(line, from);
        } else {
            match env_value(line).or_else(|| assigned_value(line)) {
                Some(at) => {
                    hidden.keep(&line[..at]);
                    hidden.hide_from(line, at);
                }
                None => hidden.keep(line),
            }
        }
    }
    hidden.out
}

/// Returns the text of an env file without its values. A line without `=` is hidden whole: it may be part of a value.
pub(crate) fn without_values(text: &str) -> String {
    let mut hidden = Hider::default();
    for line in text.split_inclusive('\n') {
        let from = if line.trim_start().starts_with('#') {
            line.len()
        } else {
            line.find('=').map_or(0, |at| at + 1)
        };
        hidden.keep(&line[..from]);
        hidden.hide_line_from(line, from);
    }
    hidden.out
}

/// Returns `true` for the header of an `env` table, but not for the header of a child that is called `env`.
fn is_env_header(header: &str) -> bool {
    let inner = header.trim_start_matches('[').split(']').next().unwrap_or_default();
    let mut keys = inner.rsplit('.').map(|key| key.trim().trim_matches(['"', '\'']));
    keys.next() == Some("env") && keys.next().is_some_and(|key| key != "child")
}

/// Returns where the first value of a key `env`, or of a key below it, begins in a line.
fn env_value(line: &str) -> Option<usize> {
    let is_key = |&(at, word): &(usize, &str)| {
        let before = line[..at].trim_end_matches(['"', '\'']);
        let after = line[at + word.len()..].trim_start_matches(['"', '\'']).trim_start();
        let begins = before.is_empty() || before.ends_with([' ', '\t', '{', ',', '.']);
        begins && !before.ends_with("child.") && after.starts_with(['=', '.'])
    };
    let (at, _) = line.match_indices("env").find(is_key)?;
    line[at..].find('=').map(|equals| at + equals + 1)
}

/// Returns the start of the value, if a command sets a variable in front of its program, as in `command = "A=1 run"`.
fn assigned_value(line: &str) -> Option<usize> {
    let command = line.find("command")?;
    let begin = command + line[command..].find(['"', '\''])?;
    let inner = line[begin..].trim_start_matches(['"', '\'', ' ', '\t']);
    let name = inner.split('=').next().filter(|name| name.len() < inner.len() && !name.is_empty())?;
    let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then(|| line.len() - inner.len() + name.len() + 1)
}

/// Returns the places of the values in `{ A = 1, B = 2 }`, if the text begins with such a table that ends on its line.
fn inline_values(text: &str) -> Option<Vec<Range<usize>>> {
    let (mut values, mut value, mut quote) = (Vec::new(), None, None);
    let begin = text.find('{').filter(|&at| text[..at].trim().is_empty())?;
    let mut part = begin + 1;
    for (at, c) in text.char_indices().skip_while(|&(at, _)| at <= begin) {
        match (c, quote, value) {
            // If there are escapes, everything is hidden, because following them would be complicated.
            ('\\' | '{' | '[', ..) => return None,
            (c, Some(open), _) => quote = Some(open).filter(|&open| open != c),
            ('"' | '\'', None, _) => quote = Some(c),
            ('=', None, None) => value = Some(at + 1),
            (',' | '}', None, from) => {
                // Something without `=` is not a pair of a name and a value.
                if from.is_none() && !text[part..at].trim().is_empty() {
                    return None;
                }
                values.extend(from.map(|from| from..at));
                (value, part) = (None, at + 1);
                if c == '}' {
                    // The text that follows is not part of the value.
                    return Some(values);
                }
            }
            _ => {}
        }
    }
    None
}

/// Builds a text of which parts are hidden.
#[derive(Default)]
struct Hider {
    out: String,
    /// The closing quotes of the open string over several lines.
    string: Option<&'static str>,
    /// How many brackets of the value are open.
    brackets: usize,
}

impl Hider {
    fn keep(&mut self, line: &str) {
        self.out.push_str(line);
    }

    /// Returns `true` if a hidden value continues in the next line.
    fn goes_on(&self) -> bool {
        self.string.is_some() || self.brackets > 0
    }

    /// Hides the values in the rest of a line, beginning at a byte that is inside a TOML value.
    fn hide_from(&mut self, line: &str, from: usize) {
        match inline_values(&line[from..]).filter(|_| !self.goes_on()) {
            Some(values) => {
                let mut kept = from;
                for value in values {
                    let value = from + value.start..from + value.end;
                    self.keep(&line[kept..value.start]);
                    self.hide_line_from(&line[..value.end], value.start);
                    kept = value.end;
                }
                self.keep(&line[kept..]);
            }
            None => {
                self.hide_line_from(line, from);
                self.follow(&line[from..]);
            }
        }
    }

    /// Looks for the end of a value over several lines.
    fn follow(&mut self, mut rest: &str) {
        while let Some(c) = rest.chars().next() {
            let quotes = ["\"\"\"", "'''"].into_iter().find(|quotes| rest.starts_with(quotes));
            match (self.string, quotes) {
                (Some(open), Some(quotes)) if open == quotes => self.string = None,
                (None, Some(quotes)) => self.string = Some(quotes),
                (None, None) if "{[".contains(c) => self.brackets += 1,
                (None, None) if "}]".contains(c) => self.brackets = self.brackets.saturating_sub(1),
                _ => {}
            }
            rest = &rest[quotes.map_or(c.len_utf8(), str::len)..];
        }
    }

    /// Hides the rest of a line from a byte on.
    fn hide_line_from(&mut self, line: &str, from: usize) {
        for c in line[from..].chars() {
            match c {
                ' ' | '\t' | '\r' | '\n' => self.out.push(c),
                c => self.out.extend(std::iter::repeat_n('*', c.len_utf8())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> bool {
        without_env(text).contains("hunter2")
    }

    #[test]
    fn the_values_of_an_env_table_are_hidden_however_it_is_written() {
        for text in [
            "[child.a.env]\nPASSWORD = \"hunter2\"\n",
            "[child.a.\"env\"]\nPASSWORD = hunter2\n",
            "[child.a.env] # x\nPASSWORD = \"\"\"\nhunter2\nhunter2\"\"\"\n",
            "[child.a.env]\nPASSWORD = '''a\nb = 1\nhunter2'''\n",
            "[child.a.env]\nhunter2\n",
            "[child.a]\nenv = { PASSWORD = \"hunter2\" }\n",
            "[child.a]\n\"env\".PASSWORD = \"hunter2\"\n",
            "[child.a]\nenv.PASSWORD = \"hunter2\n",
            "[child.a]\nenv = { PASSWORD: \"hunter2\" }\n",
            "[child.a]\nenv = { A = \"1\" \"hunter2\" }\n",
            "[child.a]\nenv = { A = \"\\\"\", B = \"hunter2\" }\n",
            "[child.a]\nenv = {\n  PASSWORD = \"hunter2\",\n  B = 1 }\n",
            "child.a.env.PASSWORD = \"hunter2\"\n",
            "child.a = { command = \"x\", env = { PASSWORD = \"hunter2\" } }\n",
            "[child.a]\ncommand = \"PASSWORD=hunter2 x\"\n",
            "[child.a]\ncommand = 'A=1 PASSWORD=\"hunter2\" x'\n",
            "child.a.ready.command = \" PASSWORD=hunter2\n",
            "child.a={command=\"x\",env={PASSWORD=\"hunter2\"}}\n",
        ] {
            assert!(!shown(text), "{}", without_env(text));
        }
    }

    #[test]
    fn the_rest_of_the_file_is_shown() {
        for text in [
            "[child.env]\ncommand = \"x\"\n",
            "child.env.command = \"x\"\n",
            "[child.a]\ncommand = \"x --token=a\"\ncommand = [\"x\", \"a=b\"]\n",
            "[child.a]\ncommand = \"printenv\"\nenv_file = \".env\"\n",
            "[child.a.env]\n# A comment\n[child.b]\ncommand = \"x\"\n",
        ] {
            assert_eq!(without_env(text), text);
        }
        let text = "[child.a]\nenv = { A = \"1\" }\ncommand = \"x\"\n[child.a.env]\nB = 'x y'\n[child.c]\ncommand = \"x\"";
        let expected = "[child.a]\nenv = { A = *** }\ncommand = \"x\"\n[child.a.env]\nB = ** **\n[child.c]\ncommand = \"x\"";
        assert_eq!(without_env(text), expected);
    }

    #[test]
    fn an_env_file_shows_its_names_only() {
        let text = "# A comment = shown\nA=1\nexport B = 'x y' # c\nMIIEpAIBAAKCAQEA\n";
        let expected = "# A comment = shown\nA=*\nexport B = ** ** * *\n****************\n";
        assert_eq!(without_values(text), expected);
    }

    proptest! {
        #[test]
        fn hiding_values_keeps_lines_and_columns(text in "([\\[\\]{}=.\"'# \n]|env|child|command|[a-zö])*") {
            for hidden in [without_env(&text), without_values(&text)] {
                prop_assert_eq!(hidden.len(), text.len());
                prop_assert_eq!(hidden.match_indices('\n').count(), text.match_indices('\n').count());
            }
        }
    }
}
