//! Children of kinds: their arguments, their errors at the exact place, and the keys that they may have.

use crate::bounds::DEFAULT_FILE;
use crate::{Config, Diagnostics, Form, FromFile, KindConfig, Kinds, load, source};
use liveoak_core::Restart;
use liveoak_runtime::testing::paused;
use liveoak_runtime::{Child, Criticality, Ctx, Role, Supervisor};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CameraArgs {
    device: String,
    #[serde(default)]
    fps: u8,
    size: Option<Size>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    crops: Vec<Size>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Still,
    Video,
    Raw {
        bits: u8,
    },
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Returns kinds that note what they are given.
fn kinds(seen: &Seen) -> Kinds {
    let (camera, motor) = (Arc::clone(seen), Arc::clone(seen));
    Kinds::new()
        .add("camera", move |args: CameraArgs, ctx: Ctx| {
            let size = args.size.map_or(0, |size| size.width * size.height);
            let crops: u32 = args.crops.iter().map(|crop| crop.width).sum();
            let bits = match args.mode {
                Mode::Still => 0,
                Mode::Video => 1,
                Mode::Raw { bits } => bits,
            };
            let line = format!("{} {} {} {size} {bits} {crops}", ctx.path(), args.device, args.fps);
            camera.lock().unwrap().push(line);
            async move { ctx.stopping().await }
        })
        .add_child("motor", move |(): ()| {
            let motor = Arc::clone(&motor);
            Child::task("any", move |ctx| {
                motor.lock().unwrap().push(ctx.path().to_string());
                async {}
            })
            .restart(Restart::Transient)
            .stop_within(Duration::from_secs(9))
        })
}

fn read(text: &str) -> Result<Config, Diagnostics> {
    let kinds = kinds(&Seen::default());
    load::read(
        Path::new(DEFAULT_FILE),
        Path::new("/robot"),
        text,
        &|file| source::Sources::new(&|_| {}).read_env_file(file),
        Some(&kinds),
    )
}

/// Reads a good text of a program that has the kinds `camera` and `motor`.
pub(super) fn read_with_kinds(text: &str) -> Config {
    read(text).unwrap_or_else(|refused| panic!("{refused}"))
}

/// Returns the errors of a text: position, path, message, what was found, what was expected, and help.
pub(super) fn errors(text: &str) -> Vec<String> {
    let report = read(text).expect_err(text).json();
    let shown = |error: &serde_json::Value| {
        let part = |key: &str| error[key].as_str().unwrap_or("-").to_owned();
        let place = format!("{}:{}", error["line"], error["column"]);
        [place, part("path"), part("message"), part("found"), part("expected"), part("help")].join(" | ")
    };
    report["errors"].as_array().expect("errors").iter().map(shown).collect()
}

fn of_kind(config: &Config, at: usize) -> &KindConfig {
    match &config.expanded().root.children[at].form {
        Form::Kind(_) => {}
        other => panic!("{other:?} is of no kind"),
    }
    let Form::Kind(kind) = &config.root.children[at].form else { unreachable!("it is a kind") };
    kind
}

#[test]
fn each_error_in_the_arguments_of_all_children_is_shown_at_its_place() {
    let text = "[child.a]\nkind = \"camera\"\nargs = { fps = 300, size = { width = \"wide\", hight = 3 }, colour = 1 }\n\
                [child.b]\nkind = \"camera\"\n\
                [child.c]\nkind = \"camera\"\n\
                args = { device = 1, mode = \"vidio\", crops = [{ width = 1, height = 2 }, { width = 1 }] }\n";
    let of_a = "a whole number from 0 to";
    assert_eq!(
        errors(text),
        [
            "3:8 | child.a.args | `child.a.args` has no `device` | - | - | add `device`: the kind cannot do without it"
                .to_owned(),
            format!("3:16 | child.a.args.fps | `child.a.args.fps` has a value that is not possible | - | {of_a} 255 | -"),
            "3:28 | child.a.args.size | `child.a.args.size` has no `height` | - | - | add `height`: the kind cannot do without it".to_owned(),
            format!("3:38 | child.a.args.size.width | `child.a.args.size.width` must be {of_a} 4294967295 | found a string | - | -"),
            "3:46 | child.a.args.size.hight | unknown key `hight` | not a key of this kind | one of `width`, `height` | did you mean `height`?".to_owned(),
            "3:59 | child.a.args.colour | unknown key `colour` | not a key of this kind | one of `device`, `fps`, `size`, `mode`, `crops` | -".to_owned(),
            "5:8 | child.b.kind | this kind needs `device` in `args` | - | - | add args = { device = ... }".to_owned(),
            "8:19 | child.c.args.device | `child.c.args.device` must be a string | found an integer | - | -".to_owned(),
            "8:29 | child.c.args.mode | `child.c.args.mode` has an unknown value | not one of the words for it | one of `still`, `video`, `raw` | did you mean \"video\"?".to_owned(),
            "8:74 | child.c.args.crops[1] | `child.c.args.crops[1]` has no `height` | - | - | add `height`: the kind cannot do without it".to_owned(),
        ]
    );
}

#[derive(Deserialize)]
struct Driven {
    name: String,
    #[serde(flatten)]
    limits: Limits,
    drive: Drive,
}

#[derive(Deserialize)]
struct Limits {
    most: u8,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Drive {
    Serial { baud: u32 },
    Can { id: u8 },
}

#[test]
fn types_that_hide_the_place_of_an_error_get_the_table_around_it_and_no_wrong_place() {
    let kinds = Kinds::new().add("driven", |args: Driven, _: Ctx| async move {
        let number = match args.drive {
            Drive::Serial { baud } => baud,
            Drive::Can { id } => id.into(),
        };
        let _ = (args.name, args.limits.most, number);
    });
    let refused = |args: serde_json::Value| {
        kinds.child("driven", "x", args).map_or_else(|refused| refused.to_string(), |_| "fine".to_owned())
    };
    let good = json!({ "name": "a", "most": 3, "drive": { "type": "serial", "baud": 9600 } });
    assert_eq!(refused(good), "fine");
    assert_eq!(
        refused(json!({ "name": "a", "most": "3", "drive": { "type": "can", "id": 1 } })),
        "a value in `args` must be a whole number from 0 to 255, found a string"
    );
    assert_eq!(
        refused(json!({ "name": "a", "most": 3, "drive": { "type": "serial", "baud": "fast" } })),
        "a value in `args.drive` must be a whole number from 0 to 4294967295, found a string"
    );
    assert_eq!(
        refused(json!({ "name": "a", "most": 3, "drive": { "type": "seriel", "baud": 1 } })),
        "`args.drive.type` has an unknown value, expected one of `serial`, `can`; did you mean \"serial\"?"
    );
}

#[test]
fn an_unknown_kind_is_refused_with_the_one_that_was_probably_meant() {
    assert_eq!(
        errors("[child.a]\nkind = \"camra\"\n[child.b]\nkind = \"lidar\"\n[child.c]\nkind = 3"),
        [
            "2:8 | - | there is no kind `camra` | no kind of this program | one of `camera`, `motor` | did you mean \"camera\"?",
            "4:8 | - | there is no kind `lidar` | no kind of this program | one of `camera`, `motor` | -",
            "6:8 | child.c.kind | `child.c.kind` must be a string | found the integer 3 | a string, as in: kind = \"camera\" | put it in double quotes: \"3\"",
        ]
        .map(|line| line.replacen("| - |", if line.starts_with('2') { "| child.a.kind |" } else { "| child.b.kind |" }, 1))
    );
}

#[test]
fn a_program_without_kinds_refuses_the_key_kind() {
    let text = "[child.a]\nkind = \"camera\"\nargs = { device = \"x\" }";
    let refused = super::read_text(Path::new("/robot"), text).expect_err("kind");
    assert!(refused.to_string().contains("`kind` needs a library program"), "{refused}");
    assert_eq!(refused.json()["errors"][0]["line"], 2);
    assert_eq!(refused.json()["errors"].as_array().map(Vec::len), Some(1));
}

#[test]
fn keys_of_programs_and_of_supervisors_are_refused_beside_kind_and_args_is_refused_beside_command() {
    for key in ["cwd", "env_file", "stdin", "success", "strategy", "order", "intensity"] {
        let found = errors(&format!("[child.a]\nkind = \"motor\"\n{key} = \"x\""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("3:1 | child.a.{key} | `{key}` is a key of ")), "{found:?}");
    }
    for (text, message) in [
        ("kind = \"motor\"\ncommand = \"x\"", "has both `command` and `kind`"),
        ("kind = \"motor\"\nshell = \"x\"", "has both `shell` and `kind`"),
        ("kind = \"motor\"\n[child.a.child.b]\ncommand = \"x\"", "has both `child` and `kind`"),
        ("command = \"x\"\nargs = [\"--fast\"]", "put the arguments into `command`"),
        ("args = [\"--fast\"]", "has `args`, but no `kind`"),
        ("kind = \"motor\"\nparams = { a = 1 }", "the key is `args`"),
        ("kind = \"motor\"\ndepends_on = [\"b\"]", "the key is `after`"),
        ("kind = \"motor\"\nstop = { signal = \"SIGINT\" }", "not a key of the `stop` of a kind"),
        ("knid = \"motor\"", "did you mean `kind`?"),
        ("kind = \"motor\"\nargs = { speed = 1 }", "nothing: there are none"),
        ("kind = \"motor\"\nargs = 3", "must be a table"),
        ("kind = \"motor\"\nargs = { speed = inf }", "is no finite number"),
        ("kind = \"camera\"\nargs = { device = \"v{replicas}\" }", "did you mean `{replica}`?"),
    ] {
        let found = errors(&format!("[child.a]\n{text}"));
        assert!(found.len() == 1 && found[0].contains(message), "{text}: {found:?}");
    }
}

#[test]
fn each_replica_of_a_kind_finds_its_number_in_the_strings_of_its_arguments() {
    let config = read(
        "[child.a]\nkind = \"camera\"\nreplicas = 2\nargs = { device = \"/dev/video{replica}\", fps = 3 }",
    )
    .unwrap();
    let names: Vec<_> = config.expanded().root.children.iter().map(|child| child.name.to_string()).collect();
    assert_eq!(names, ["a.1", "a.2"]);
    let kind = of_kind(&config, 0);
    let devices: Vec<_> =
        [&kind.args, &kind.others[0]].iter().map(|args| args.get("device").cloned().unwrap()).collect();
    assert_eq!(devices, [json!("/dev/video1"), json!("/dev/video2")]);
    let same = read("[child.a]\nkind = \"camera\"\nreplicas = 3\nargs = { device = \"x\" }").unwrap();
    assert_eq!(of_kind(&same, 0).others.len(), 0);
}

#[test]
fn two_files_are_equal_if_their_kinds_and_arguments_are() {
    let one = "[child.a]\nkind = \"camera\"\nargs = { device = \"x\", fps = 3 }";
    let other = "[child.a]\nargs.fps = 3\nargs.device = \"x\"\nkind = \"camera\"";
    assert_eq!(read(one).unwrap().root, read(other).unwrap().root);
    for changed in [
        "[child.a]\nkind = \"camera\"\nargs = { device = \"x\", fps = 4 }",
        "[child.a]\nkind = \"camera\"\nargs = { device = \"x\" }",
        "[child.a]\nkind = \"motor\"",
    ] {
        assert_ne!(read(one).unwrap().root, read(changed).unwrap().root, "{changed}");
    }
    let shown = format!("{:?}", read(one).unwrap());
    assert!(shown.contains("\"device\"") && !shown.contains("\"x\""), "values may be secrets: {shown}");
}

#[test]
fn a_child_of_a_kind_has_what_the_kind_says_where_neither_the_file_nor_its_defaults_do() {
    paused(async {
        let kinds = Kinds::new().add_child("wheel", |(): ()| {
            let wheel = Child::task("any", |ctx: Ctx| async move { ctx.stopping().await });
            wheel.role(Role::Sidecar).criticality(Criticality::High).kill_wait(Duration::from_secs(7))
        });
        let folder = std::env::temp_dir().join(format!("liveoak-wheels-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("robot.toml");
        let text = "name = \"robot\"\n[defaults.stop]\nwithin = \"20s\"\nkill_wait = \"9s\"\n\
                    [child.left]\nkind = \"wheel\"\ntags = [\"left\"]\nrun_within = \"12h\"\n\
                    [child.right]\nkind = \"wheel\"\nneeds = [\"left\"]\nstop = { within = \"3s\" }\n";
        std::fs::write(&file, text).unwrap();
        let tree = Supervisor::from_file(&file, &kinds).unwrap_or_else(|refused| panic!("{refused}"));
        std::fs::remove_dir_all(&folder).unwrap();
        let tree = tree.start().await.unwrap();
        let spec = |path: &str| tree.explain(path).unwrap().spec;
        let (left, right) = (spec("/robot/left"), spec("/robot/right"));
        let view = tree.snapshot().get("/robot/left").cloned().unwrap();
        assert_eq!((view.role(), view.criticality()), (Some(Role::Sidecar), Some(Criticality::High)));
        assert_eq!(view.tags().iter().map(|tag| &**tag).collect::<Vec<_>>(), ["left"]);
        let seconds = Duration::from_secs;
        assert_eq!((left.stop_within, left.kill_wait), (seconds(20), seconds(7)), "the kind comes first");
        assert_eq!((right.stop_within, right.kill_wait), (seconds(3), seconds(7)));
        assert_eq!((left.run_within, right.needs.len()), (Some(seconds(12 * 3_600)), 1));
    });
}

#[test]
fn a_tree_of_a_file_runs_its_kinds_and_launches_more_of_them_by_name() {
    paused(async {
        let seen = Seen::default();
        let kinds = kinds(&seen);
        let folder = std::env::temp_dir().join(format!("liveoak-kinds-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("robot.toml");
        let text = "name = \"robot\"\n[child.front]\nkind = \"camera\"\nafter = { motor = \"completed\" }\n\
                    args = { device = \"/dev/video0\", fps = 30, size = { width = 2, height = 3 }, mode = { raw = { bits = 8 } } }\n\
                    [child.motor]\nkind = \"motor\"\nrestart = \"transient\"";
        std::fs::write(&file, text).unwrap();
        let tree = Supervisor::from_file(&file, &kinds).unwrap_or_else(|refused| panic!("{refused}"));
        std::fs::remove_dir_all(&folder).unwrap();
        let tree = tree.start().await.unwrap();
        assert_eq!(*seen.lock().unwrap(), ["/robot/motor", "/robot/front /dev/video0 30 6 8 0"]);

        seen.lock().unwrap().clear();
        let args =
            json!({ "device": "/dev/video1", "mode": "video", "crops": [{ "width": 5, "height": 1 }] });
        kinds.launch(&tree, "/robot/rear", "camera", args.clone()).await.unwrap();
        kinds.launch(&tree, "/robot/side", "camera", args).await.unwrap();
        for _ in 0..2 {
            // It finishes each time, and can be launched again by the same name.
            kinds.launch(&tree, "/robot/turn", "motor", ()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(
            *seen.lock().unwrap(),
            [
                "/robot/rear /dev/video1 0 0 1 5",
                "/robot/side /dev/video1 0 0 1 5",
                "/robot/turn",
                "/robot/turn"
            ]
        );
        let refused = [
            kinds.launch(&tree, "/robot/rear", "motor", ()).await,
            kinds.launch(&tree, "/robot/x", "moter", ()).await,
            kinds.launch(&tree, "/robot/x", "camera", json!({ "fps": "fast" })).await,
            kinds.launch(&tree, "/robot/x", "camera", 3).await,
        ];
        let refused = refused.map(|refused| refused.unwrap_err().to_string());
        assert_eq!(
            refused,
            [
                "a child of that name exists: it is running",
                "there is no kind \"moter\"; did you mean `motor`?",
                "`args.fps` must be a whole number from 0 to 255, found a string; `args` has no `device`; add `device`: the kind cannot do without it",
                "the arguments of a kind must be a table",
            ]
        );
        tree.stop().await;
    });
}

#[test]
fn a_child_of_a_kind_keeps_what_no_key_of_the_file_sets() {
    let shown = |text: &str| format!("{:?}", read(text).unwrap().supervisor(&|program| program));
    let spec = shown("[child.m]\nkind = \"motor\"\nstop = { within = \"3s\" }\n[child.n]\nkind = \"motor\"");
    assert!(spec.contains("stop_within: 3s") && spec.contains("stop_within: 9s"), "{spec}");
    assert!(spec.contains("restart: Permanent") && !spec.contains("restart: Transient"), "{spec}");
    assert!(spec.contains("\"m\"") && spec.contains("\"n\"") && !spec.contains("\"any\""), "{spec}");
}

#[test]
#[should_panic(expected = "there are two kinds of one name")]
fn two_kinds_of_one_name_are_refused() {
    let _ = kinds(&Seen::default()).add("camera", |(): (), _: Ctx| async {});
}
