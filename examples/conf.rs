#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut options = quiver::testing::promqltest::RunOptions::default();
    if std::env::var("NORERUN").is_ok() { options.reruns = false; }
    let report = quiver::testing::promqltest::run_files(&args, &options).await;
    println!("{report}");
}
