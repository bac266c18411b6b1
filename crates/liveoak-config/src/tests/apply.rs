//! A file that changes, applied to the tree that was started from it.

use crate::{FromFile, Kinds};
use liveoak_runtime::testing::paused;
use liveoak_runtime::{Child, Ctx, PlanAction, Supervisor, TreeHandle};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    port: u16,
}

/// A file that is written again and again.
struct Changing {
    file: PathBuf,
    kinds: Kinds,
    /// What the children of kinds did.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Changing {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("liveoak-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let body = move |args: Args, ctx: Ctx| {
            let line = format!("{} {}", ctx.path().name(), args.port);
            noted.lock().unwrap().push(line);
            async move { ctx.stopping().await }
        };
        let pool = |(): ()| {
            Supervisor::new("any").child(Child::task("one", |ctx: Ctx| async move { ctx.stopping().await }))
        };
        let kinds =
            Kinds::new().add("server", body).add_child("pool", move |args: ()| Child::from(pool(args)));
        Self { file: folder.join("liveoak.toml"), kinds, seen }
    }

    fn read(&self, text: &str) -> Supervisor {
        std::fs::write(&self.file, format!("name = \"t\"\n{text}")).unwrap();
        Supervisor::from_file(&self.file, &self.kinds).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Writes the file, and applies it. Returns the steps in which something is done, and what the children of kinds did.
    async fn apply(&self, tree: &TreeHandle, text: &str) -> (Vec<String>, Vec<String>) {
        self.seen.lock().unwrap().clear();
        let plan = tree.apply(self.read(text)).unwrap();
        let steps = plan.steps().filter(|step| step.step != PlanAction::Keep).map(ToString::to_string);
        let steps = steps.collect();
        let report = plan.run().await.unwrap();
        assert!(report.is_complete(), "{report}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        (steps, std::mem::take(&mut *self.seen.lock().unwrap()))
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.file.parent().unwrap());
    }
}

fn attempt(tree: &TreeHandle, path: &str) -> u64 {
    tree.snapshot().get(path).map_or(0, |view| view.attempt.0)
}

#[test]
fn a_changed_file_restarts_the_programs_and_kinds_whose_values_differ_and_touches_no_other() {
    paused(async {
        let file = Changing::new("apply-values");
        let text = |sleep: &str, env: &str, port: u16| {
            format!(
                "[child.job]\ncommand = [\"sleep\", \"{sleep}\"]\nenv = {{ TOKEN = \"{env}\" }}\n\
                 [child.other]\ncommand = [\"sleep\", \"1000\"]\n\
                 [child.api]\nkind = \"server\"\nargs = {{ port = {port} }}\n\
                 [child.pool]\nkind = \"pool\"\n"
            )
        };
        let tree = file.read(&text("1000", "x", 1)).start().await.unwrap();
        assert!(
            tree.apply(file.read(&text("1000", "x", 1))).unwrap().is_empty(),
            "the same file changes nothing"
        );
        let (steps, seen) = file.apply(&tree, &text("1001", "x", 1)).await;
        assert_eq!(steps, ["restart /t/job: its command differs"]);
        assert_eq!((attempt(&tree, "/t/job"), seen.len()), (2, 0));
        let (steps, seen) = file.apply(&tree, &text("1001", "secret", 2)).await;
        assert_eq!(
            steps,
            ["restart /t/job: variables differ: `TOKEN`", "restart /t/api: its arguments differ: `port`"]
        );
        assert_eq!((attempt(&tree, "/t/job"), seen), (3, vec!["api 2".to_owned()]));
        assert_eq!((attempt(&tree, "/t/other"), attempt(&tree, "/t/pool/one")), (1, 1));
        tree.stop().await;
    });
}

#[test]
fn a_changed_file_changes_order_replicas_and_modes_without_a_restart_of_what_stays() {
    paused(async {
        let file = Changing::new("apply-shape");
        let server =
            |name: &str, more: &str| format!("[child.{name}]\nkind = \"server\"\nargs.port = 1\n{more}\n");
        let before = server("a", "after = [\"b\"]") + &server("b", "") + &server("web", "replicas = 2");
        let tree = file.read(&before).start().await.unwrap();
        // A child that is ready at once may not have run yet.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(std::mem::take(&mut *file.seen.lock().unwrap()), ["b 1", "a 1", "web.1 1", "web.2 1"]);
        let turned = server("a", "") + &server("b", "after = [\"a\"]") + &server("web", "replicas = 2");
        let (steps, seen) = file.apply(&tree, &turned).await;
        assert_eq!(
            steps,
            [
                "change /t: the order of its children differs: b, a, web.1, web.2, now a, b, web.1, web.2",
                "change /t/a: `after` differs: b ready, now none",
                "change /t/b: `after` differs: none, now a ready",
            ]
        );
        assert!(seen.is_empty(), "{seen:?}");
        let more = turned.replace("replicas = 2", "replicas = 4");
        let (_, seen) = file.apply(&tree, &more).await;
        assert_eq!(seen, ["web.3 1", "web.4 1"]);
        let (steps, seen) = file.apply(&tree, &turned).await;
        let stops: Vec<&String> = steps.iter().filter(|step| step.starts_with("stop ")).collect();
        assert_eq!(
            stops,
            ["stop /t/web.4: it is no longer declared", "stop /t/web.3: it is no longer declared"]
        );
        assert!(seen.is_empty(), "{seen:?}");
        let modes = turned.clone() + "[mode.small]\nrun = [\"web.1\"]\n[mode.all]\nrun = [\"**\"]\n";
        let (steps, seen) = file.apply(&tree, &modes).await;
        assert_eq!((steps, seen.len()), (vec!["change /t: the modes differ".to_owned()], 0));
        assert_eq!(tree.modes().len(), 2);
        for path in ["/t/a", "/t/b", "/t/web.1", "/t/web.2"] {
            assert_eq!(attempt(&tree, path), 1, "{path}");
        }
        tree.stop().await;
    });
}

#[test]
fn a_child_may_become_a_program_a_kind_or_a_supervisor() {
    paused(async {
        let file = Changing::new("apply-form");
        let program = "[child.x]\ncommand = [\"sleep\", \"1000\"]\n";
        let kind = "[child.x]\nkind = \"server\"\nargs.port = 1\n";
        let nested = "[child.x.child.y]\nkind = \"server\"\nargs.port = 1\n";
        let tree = file.read(program).start().await.unwrap();
        for (text, reason, started) in [
            (kind, "it was a program, and is something else now", vec!["x 1"]),
            (nested, "it was a child without children, and is a supervisor now", vec!["y 1"]),
            (program, "it was a supervisor, and is a child without children now", vec![]),
        ] {
            let (steps, seen) = file.apply(&tree, text).await;
            assert_eq!(
                (steps, seen),
                (
                    vec![format!("restart /t/x: {reason}")],
                    started.iter().map(|text| (*text).to_owned()).collect()
                )
            );
        }
        tree.stop().await;
    });
}
