//! Compiles proto/ without protoc, and embeds the commit. Nothing else.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use protox::prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    compile_protos()?;
    println!("cargo::rustc-env=QUIVER_COMMIT={}", commit().unwrap_or_default());
    Ok(())
}

fn compile_protos() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files =
        protox::compile(["quiver/v1/query.proto", "quiver/v1/status.proto", "quiver/v1/flight.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // gRPC reflection answers from this.
    std::fs::write(out.join("quiver_descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    let thanos = protox::compile(["thanos/info.proto", "thanos/store.proto", "thanos/query.proto"], ["proto"])?;
    std::fs::write(out.join("thanos_descriptors.bin"), thanos.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(thanos)?;
    // Apart from those, or reflection would offer them.
    let prometheus = protox::compile(["prometheus/remote.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(prometheus)?;
    Ok(())
}

/// The commit that is checked out, or what the packager says it is; nothing in a source archive.
fn commit() -> Option<String> {
    println!("cargo::rerun-if-env-changed=QUIVER_COMMIT");
    if let Ok(commit) = std::env::var("QUIVER_COMMIT") {
        return Some(commit);
    }
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // The log of HEAD grows with every commit and checkout.
    let head_log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&head_log).exists() {
        println!("cargo::rerun-if-changed={head_log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
