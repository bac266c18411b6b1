//! Licence expressions (SPDX): `MIT OR (Apache-2.0 WITH LLVM-exception AND Unicode-3.0)`, and the old `MIT/Apache-2.0`.

/// Returns `true` if allowed licences alone satisfy the expression. An expression that cannot be read is not satisfied.
pub(crate) fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    reader.or_expression() == Some(true) && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Reader<'_> {
    /// Reads `and_expression OR and_expression OR …`.
    fn or_expression(&mut self) -> Option<bool> {
        let mut value = self.and_expression()?;
        while self.eat("OR") {
            value |= self.and_expression()?;
        }
        Some(value)
    }

    /// Reads `term AND term AND …`.
    fn and_expression(&mut self) -> Option<bool> {
        let mut value = self.term()?;
        while self.eat("AND") {
            value &= self.term()?;
        }
        Some(value)
    }

    /// Reads `( or_expression )`, or a licence. A licence may have `WITH` and an exception, which then belongs to its name.
    fn term(&mut self) -> Option<bool> {
        if self.eat("(") {
            let value = self.or_expression()?;
            return self.eat(")").then_some(value);
        }
        let licence = self.word()?;
        let name =
            if self.eat("WITH") { format!("{licence} WITH {}", self.word()?) } else { licence.to_owned() };
        Some(self.allowed.contains(&name))
    }

    fn word(&mut self) -> Option<String> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        Some((*word).to_owned())
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }
}

#[test]
fn an_expression_is_satisfied_by_allowed_licences_only() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "(MIT OR GPL-3.0) AND Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(satisfied(good, &allowed), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MIT AND (GPL-3.0 OR Zlib)",
        "",
        "MIT OR",
        "(MIT",
        "MIT MIT",
        "MIT WITH LLVM-exception",
    ] {
        assert!(!satisfied(bad, &allowed), "{bad}");
    }
}
