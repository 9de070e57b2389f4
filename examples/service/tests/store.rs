//! x
#[tokio::test]
async fn redis() {
    let redis = downloader_tests::kit::Redis::start().await.unwrap();
    println!("{}", redis.url());
}
