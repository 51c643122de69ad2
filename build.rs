//! Compiles the library under which processes live in dilated time (`dilate.c`), have disks with faults (`files.c`) and lose
//! what is not durable (`durable.c`), where it can be used.

use std::env;
use std::fs;
use std::path::PathBuf;

const SOURCES: [&str; 3] = ["src/speed/dilate.c", "src/speed/durable.c", "src/speed/files.c"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/speed");
    let library = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("dilate.so");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    let is_supported = target("OS") == "linux"
        && target("ENV") == "gnu"
        && ["x86_64", "aarch64"].contains(&target("ARCH").as_str())
        && target("POINTER_WIDTH") == "64";
    if !is_supported {
        // `obstacle` in src/speed/mod.rs says why there is none.
        fs::write(&library, b"").expect("a file in OUT_DIR");
        return;
    }
    let compiler = cc::Build::new().std("gnu11").opt_level(2).debug(false).get_compiler();
    let mut command = compiler.to_command();
    command.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-nonnull-compare", "-fvisibility=hidden"]);
    // libc's headers promise pointers that are not null, and programs pass such.
    command.arg("-fno-delete-null-pointer-checks").arg("-o").arg(&library).args(SOURCES).arg("-ldl");
    let status = command.status().unwrap_or_else(|error| panic!("cannot run the C compiler {command:?}: {error}"));
    assert!(status.success(), "the C compiler failed: {command:?}");
}
