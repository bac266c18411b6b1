//! Licence expressions (SPDX): `MIT OR (Apache-2.0 WITH LLVM-exception AND Unicode-3.0)`, and the old `MIT/Apache-2.0`.

/// Whether the expression can be fulfilled with allowed licences alone. What cannot be read is not fulfilled.
pub(crate) fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    reader.any() == Some(true) && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Reader<'_> {
    /// `all OR all OR …`
    fn any(&mut self) -> Option<bool> {
        let mut value = self.all()?;
        while self.eat("OR") {
            value |= self.all()?;
        }
        Some(value)
    }

    /// `one AND one AND …`
    fn all(&mut self) -> Option<bool> {
        let mut value = self.one()?;
        while self.eat("AND") {
            value &= self.one()?;
        }
        Some(value)
    }

    /// `( any )`, or a licence, perhaps `WITH` an exception, which is part of its name in the list.
    fn one(&mut self) -> Option<bool> {
        if self.eat("(") {
            let value = self.any()?;
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
fn an_expression_is_satisfied_by_what_is_allowed_and_nothing_else() {
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
