//! A promise that no cluster keeps. It shows what a failure looks like: `cargo test --test too_much`.

fn main() -> std::process::ExitCode {
    slotquake::cargo_test::main("too-much")
}
