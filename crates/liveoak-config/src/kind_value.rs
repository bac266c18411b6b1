//! What a child of a kind is made of, compared by value. No difference shows the value of an argument.

use crate::args::Args;
use liveoak_core::BodyDifference;
use liveoak_runtime::BodyValue;
use std::any::Any;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// A kind, and the arguments of one child.
pub(crate) struct KindValue {
    kind: Arc<str>,
    args: Args,
}

impl KindValue {
    pub(crate) fn new(kind: &str, args: &Args) -> Self {
        Self { kind: kind.into(), args: args.clone() }
    }

    /// Returns a version for children that have no code of their own: supervisors and groups of a kind. Different
    /// arguments have different versions, which do not show them.
    pub(crate) fn version(&self) -> String {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.args.0).hash(&mut hasher);
        format!("{} {:x}", self.kind, hasher.finish())
    }
}

impl BodyValue for KindValue {
    fn difference(&self, now: &dyn BodyValue) -> BodyDifference {
        let restart = |reason: String| BodyDifference { restart: vec![reason], in_place: Vec::new() };
        let Some(now) = (now as &dyn Any).downcast_ref::<Self>() else {
            return restart(format!("it was of the kind `{}`, and is something else now", self.kind));
        };
        if self.kind != now.kind {
            return restart(format!("it is of another kind: `{}`, now `{}`", self.kind, now.kind));
        }
        let keys: Vec<String> =
            self.args.differing(&now.args).iter().map(|name| format!("`{name}`")).collect();
        if keys.is_empty() {
            return BodyDifference::default();
        }
        restart(format!("its arguments differ: {}", keys.join(", ")))
    }
}
