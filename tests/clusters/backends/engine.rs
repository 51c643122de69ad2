//! The container engine of this machine, with the images that the tests use.

use std::process::Command;
use std::sync::OnceLock;

use crate::support;

/// Whether there is an engine, with the images built; if not, says that the test is left out.
pub fn is_ready() -> bool {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        run("docker", &["version"])?;
        let built = run("ci/images", &[]);
        built.map(drop).map_err(|error| panic!("ci/images: {error}"))
    });
    ready.as_ref().map_err(|reason| support::skipped("container engine", reason)).is_ok()
}

/// `docker-compose`, or `docker compose`.
pub fn compose() -> Result<Vec<&'static str>, String> {
    let standalone = run("docker-compose", &["version"]).map(|_| vec!["docker-compose"]);
    standalone.or_else(|_| run("docker", &["compose", "version"]).map(|_| vec!["docker", "compose"]))
}

/// What the engine's own client prints.
pub fn docker(args: &[&str]) -> String {
    run("docker", args).unwrap_or_else(|error| panic!("docker {args:?}: {error}"))
}

/// What a program prints, or what it says if it fails.
pub fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
