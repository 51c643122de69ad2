//! Every suite in suites/, as a test: `cargo test --test chaos`.

fn main() -> std::process::ExitCode {
    slotquake::cargo_test::main("suites")
}
