//! Kinds: named factories of children, with typed arguments.

use crate::args::{Args, read};
use crate::fault::Fault;
use crate::kind_value::KindValue;
use crate::text::{near_miss, one_of};
use liveoak_runtime::{
    Added, Child, ChildState, Ctx, Exit, IdleReason, IntoExit, Path, Refusal, Restart, TreeHandle,
};
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

/// The kinds that a program knows: named factories of children, each with arguments of a type of its own.
///
/// A child of a kind is declared in a file ([`FromFile`](crate::FromFile)), or launched while the tree runs
/// ([`launch`](Self::launch)). Cheap to clone.
///
/// ```
/// use liveoak_config::Kinds;
/// use liveoak_runtime::Ctx;
///
/// #[derive(serde::Deserialize)]
/// struct CameraArgs {
///     device: String,
/// }
///
/// let kinds = Kinds::new().add("camera", |args: CameraArgs, ctx: Ctx| async move {
///     println!("reading {}", args.device);
///     ctx.stopping().await;
/// });
/// assert_eq!(kinds.names().collect::<Vec<_>>(), ["camera"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    by_name: BTreeMap<Arc<str>, Kind>,
}

/// One kind. Two are equal if they have the same name.
#[derive(Clone)]
pub struct Kind {
    name: Arc<str>,
    factory: Arc<dyn Factory>,
}

/// What makes the children of a kind.
trait Factory: Send + Sync {
    /// Returns everything that is wrong with arguments.
    fn faults(&self, args: &Args) -> Vec<Fault>;
    /// Returns a child of this name.
    fn child(&self, name: &str, args: &Args) -> Child;
}

impl Kind {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn faults(&self, args: &Args) -> Vec<Fault> {
        self.factory.faults(args)
    }

    pub(crate) fn child(&self, name: &str, args: &Args) -> Child {
        let value = KindValue::new(self.name(), args);
        let child = self.factory.child(name, args);
        if child.is_leaf() { child.made_of(Arc::new(value)) } else { child.version(value.version()) }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kind").field(&self.name).finish()
    }
}

impl Kinds {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind whose children are tasks, like those of [`Child::task`]. Each attempt gets arguments of its own.
    ///
    /// # Panics
    /// When there is a kind of this name already, or the name is empty.
    #[must_use]
    #[track_caller]
    pub fn add<A, F, Fut>(self, name: &str, body: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A, Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        let body = Arc::new(body);
        let child = move |name: &str, args: &Args| {
            let (body, args) = (Arc::clone(&body), args.clone());
            // A child of a kind holds plain values only, so it can always be started again.
            Child::task(name, move |ctx| {
                let begun = read::<A>(&args).map(|args| body(args, ctx));
                async move {
                    match begun {
                        Ok(body) => body.await.into_exit(),
                        Err(faults) => Exit::failed_not_retryable(WrongArgs(faults)),
                    }
                }
            })
            .map_spec(|spec| liveoak_runtime::ChildSpec { keep: true, ..spec })
        };
        self.insert(name, read_faults::<A>, child)
    }

    /// Adds a kind whose children `make` builds: services, threads, whole supervisors. The name that `make` gives the
    /// child is replaced. If a file declares the child, the child keeps the settings for which the file has no key.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    #[must_use]
    #[track_caller]
    pub fn add_child<A, F, C>(self, name: &str, make: F) -> Self
    where
        A: DeserializeOwned + 'static,
        F: Fn(A) -> C + Send + Sync + 'static,
        C: Into<Child>,
    {
        let child = move |name: &str, args: &Args| match read::<A>(args) {
            Ok(args) => make(args).into().named(name),
            // Reached only if the type now refuses arguments that it has accepted before.
            Err(faults) => {
                let faults = Arc::new(WrongArgs(faults));
                Child::task(name, move |_| {
                    let exit = Exit::failed_not_retryable(faults.to_string());
                    async move { exit }
                })
            }
        };
        self.insert(name, read_faults::<A>, child)
    }

    #[track_caller]
    fn insert<F>(mut self, name: &str, faults: fn(&Args) -> Vec<Fault>, child: F) -> Self
    where
        F: Fn(&str, &Args) -> Child + Send + Sync + 'static,
    {
        struct Made<F>(fn(&Args) -> Vec<Fault>, F);
        impl<F: Fn(&str, &Args) -> Child + Send + Sync> Factory for Made<F> {
            fn faults(&self, args: &Args) -> Vec<Fault> {
                self.0(args)
            }

            fn child(&self, name: &str, args: &Args) -> Child {
                self.1(name, args)
            }
        }
        assert!(!name.is_empty(), "a kind needs a name");
        let name: Arc<str> = name.into();
        let kind = Kind { name: Arc::clone(&name), factory: Arc::new(Made(faults, child)) };
        assert!(self.by_name.insert(name, kind).is_none(), "there are two kinds of one name");
        self
    }

    /// Returns the names of the kinds, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    /// Returns the kind of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.by_name.get(name)
    }

    /// Returns a child of a kind, to be added to a tree. `args` is anything that `serde` can write as a table: a struct,
    /// a map, or a value of `serde_json`.
    ///
    /// # Errors
    /// When there is no such kind, or the arguments are wrong.
    pub fn child(&self, kind: &str, name: &str, args: impl Serialize) -> Result<Child, LaunchError> {
        let Some(found) = self.get(kind) else {
            return Err(LaunchError::UnknownKind {
                kind: kind.to_owned(),
                near: near_miss(kind, self.names()).map(str::to_owned),
                known: self.names().map(str::to_owned).collect(),
            });
        };
        let args = match serde_json::to_value(args) {
            Ok(Value::Object(args)) => Args(args),
            Ok(Value::Null) => Args::default(),
            Ok(_) => return Err(LaunchError::NoTable),
            Err(error) => return Err(LaunchError::NotWritable(error.to_string())),
        };
        match found.faults(&args) {
            faults if faults.is_empty() => Ok(found.child(name, &args)),
            faults => Err(LaunchError::Args(faults.iter().map(ToString::to_string).collect())),
        }
    }

    /// Starts a child of a kind at `path`, below a supervisor that runs. Returns when the child is ready. The child is
    /// transient: it is started again after a failure, and not after a success. When it has finished, the same path can
    /// be launched again, also with another kind and other arguments.
    ///
    /// For another restart rule or other settings, give the child of [`child`](Self::child) to
    /// [`TreeHandle::add_child`].
    ///
    /// # Errors
    /// When there is no such kind, the arguments are wrong, or the tree refuses the child
    /// ([`TreeHandle::add_child`]).
    ///
    /// # Cancel safety
    /// When this future is dropped, a child that was added stays. A finished child of the same path may have been removed
    /// already.
    pub async fn launch(
        &self,
        tree: &TreeHandle,
        path: impl Into<Path>,
        kind: &str,
        args: impl Serialize,
    ) -> Result<Added, LaunchError> {
        let path = path.into();
        let child = self.child(kind, path.name(), args)?.restart(Restart::Transient);
        let parent = Path::new(path.as_str().rsplit_once('/').map_or("", |(parent, _)| parent));
        let has_finished = || {
            let view = tree.child(path.clone()).ok().and_then(|child| child.view());
            view.is_some_and(|view| {
                matches!(view.state, ChildState::Idle(IdleReason::Finished | IdleReason::Ignored))
            })
        };
        let refused = match tree.add_child(parent.clone(), child).await {
            Ok(added) => return Ok(added),
            Err(refused) => refused,
        };
        let refusal = refused.refusal().clone();
        match (&refusal, refused.into_value()) {
            (Refusal::AlreadyExists { .. }, Some(child)) if has_finished() => {
                tree.remove_child(path.clone()).await.map_err(LaunchError::Refused)?;
                tree.add_child(parent, child).await.map_err(|refused| LaunchError::Refused(refused.into()))
            }
            _ => Err(LaunchError::Refused(refusal)),
        }
    }
}

fn read_faults<A: DeserializeOwned>(args: &Args) -> Vec<Fault> {
    read::<A>(args).err().unwrap_or_default()
}

/// The error of an attempt whose arguments can no longer be read, although they could when the child was declared.
#[derive(Debug)]
struct WrongArgs(Vec<Fault>);

impl fmt::Display for WrongArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&faults.join("; "))
    }
}

impl std::error::Error for WrongArgs {}

/// Why a child of a kind was not launched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is no such kind.
    UnknownKind {
        /// The name that was given.
        kind: String,
        /// The kind that was probably meant.
        near: Option<String>,
        /// The names of all kinds.
        known: Vec<String>,
    },
    /// The arguments are not a table.
    NoTable,
    /// The arguments cannot be written as plain values.
    NotWritable(String),
    /// These things are wrong with the arguments.
    Args(Vec<String>),
    /// The tree refused the child.
    Refused(Refusal),
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind { kind, near, known } => {
                write!(f, "there is no kind {kind:?}")?;
                match (near, known.as_slice()) {
                    (Some(near), _) => write!(f, "; did you mean `{near}`?"),
                    (None, []) => f.write_str(": this program has no kinds"),
                    (None, known) => write!(f, ", expected {}", one_of(known.iter().map(String::as_str))),
                }
            }
            Self::NoTable => f.write_str("the arguments of a kind must be a table"),
            Self::NotWritable(error) => write!(f, "the arguments cannot be written as plain values: {error}"),
            Self::Args(faults) => f.write_str(&faults.join("; ")),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for LaunchError {}
