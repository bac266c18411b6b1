//! Paths of children as people write them.

use liveoak::{Glob, Path};

use super::failure::Failure;

/// Returns `true` if a text is a pattern that may match more than one child.
pub(crate) fn is_pattern(text: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|c| {
        let special = !escaped && matches!(c, '*' | '?');
        escaped = !escaped && c == '\\';
        special
    })
}

/// Returns a path without the slash at its end, which a shell adds to names of folders.
///
/// # Errors
/// When nothing is left.
pub(crate) fn cleaned(text: &str) -> Result<String, Failure> {
    match text.trim_end_matches('/') {
        "" => {
            Err(Failure::usage(format!("{text:?} is no path of a child"))
                .line("`liveoak ps` lists the children"))
        }
        path => Ok(path.to_owned()),
    }
}

/// Returns all of these paths, cleaned.
pub(crate) fn all_cleaned(texts: &[String]) -> Result<Vec<String>, Failure> {
    texts.iter().map(|text| cleaned(text)).collect()
}

/// Returns `true` if `path` is `above` or stands below it.
pub(crate) fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Patterns of which one must match.
#[derive(Debug)]
pub(crate) struct AnyOf(Vec<Glob>);

impl AnyOf {
    /// Reads patterns, which may leave out the name of the tree.
    pub(crate) fn new(patterns: &[String], tree: &str) -> Result<Self, Failure> {
        let one = |pattern: &String| {
            let full = match pattern.as_str() {
                "**" => "/**".to_owned(),
                path if path.starts_with('/') => path.to_owned(),
                path => format!("/{tree}/{path}"),
            };
            Glob::new(full).map_err(|error| Failure::usage(error.to_string()))
        };
        Ok(Self(patterns.iter().map(one).collect::<Result<_, _>>()?))
    }

    /// Returns `true` if one of the patterns matches a path.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let path = Path::new(path);
        self.0.iter().any(|glob| glob.matches(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_or_a_question_mark_that_is_not_escaped_makes_a_pattern() {
        for pattern in ["*", "ingest/*", "**", "w?b", r"a\\*"] {
            assert!(is_pattern(pattern), "{pattern}");
        }
        for path in ["web", "/shop/ingest", "pool.2", r"a\*b", r"a\\\?"] {
            assert!(!is_pattern(path), "{path}");
        }
    }

    #[test]
    fn a_path_loses_the_slash_at_its_end_and_must_not_be_empty() {
        assert_eq!(cleaned("ingest/"), Ok("ingest".to_owned()));
        assert_eq!(cleaned("/shop/web"), Ok("/shop/web".to_owned()));
        assert_eq!(cleaned("").unwrap_err().code, 2);
        assert_eq!(cleaned("/").unwrap_err().code, 2);
    }

    #[test]
    fn patterns_may_leave_out_the_name_of_the_tree() {
        let any =
            AnyOf::new(&["web".to_owned(), "ingest/**".to_owned(), "/shop/a*".to_owned()], "shop").unwrap();
        for path in ["/shop/web", "/shop/ingest/kafka/reader", "/shop/api"] {
            assert!(any.matches(path), "{path}");
        }
        for path in ["/shop", "/shop/ingest", "/other/web", "/shop/web/x"] {
            assert!(!any.matches(path), "{path}");
        }
        assert_eq!(AnyOf::new(&["a//b".to_owned()], "shop").unwrap_err().code, 2);
        assert!(is_at_or_below("/shop/a/b", "/shop/a") && is_at_or_below("/shop/a", "/shop/a"));
        assert!(!is_at_or_below("/shop/ab", "/shop/a"));
    }
}
