//! Load that takes no processor time from those who are measured.

use rustix::process::nice;

/// The lowest priority that Linux has, for the threads of the load.
const LOWEST: i32 = 19;

/// Runs a load on threads of the lowest priority, as if it came from other machines: the service, its database and the
/// callers whose times count run first. Everything that the load needs, its connections too, must begin in it.
pub async fn elsewhere<T: Send + 'static>(load: impl Future<Output = T> + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        step_back(); // The threads of the runtime inherit it; block_on is on this one.
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .on_thread_start(step_back)
            .build()
            .expect("a runtime")
            .block_on(load)
    });
    tokio::task::spawn_blocking(move || thread.join()).await.expect("it ends").expect("the load meets no error")
}

/// On Linux each thread has a priority of its own.
fn step_back() {
    let _ = nice(LOWEST);
}
