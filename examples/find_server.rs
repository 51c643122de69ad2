//! Finds servers as `slotquake run` does, fetching what is missing, and prints where they are:
//! `cargo run --example find_server redis:6.2 valkey:9.1`

fn main() -> Result<(), slotquake::server::ServerError> {
    for asked in std::env::args().skip(1) {
        let server = slotquake::server::find(&asked, &|notice| eprintln!("{notice}"))?;
        let libraries = server.library_path.map(|path| path.display().to_string()).unwrap_or_default();
        println!("{asked}\t{}\t{libraries}", server.path.display());
    }
    Ok(())
}
