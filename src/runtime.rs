//! The two tokio runtimes: `io` for sockets and timers, `cpu` for decoding and plans.
//!
//! A query that computes for a second must not keep `/-/healthy`, or the answer of another query, waiting: whatever
//! computes is spawned on `cpu`, and the accept loops, which only move bytes, live on `io`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, ErrorKind};

/// Sockets need few threads: they only copy.
const IO_THREADS_MAX: usize = 4;

/// tokio's own default.
const IO_STACK_BYTES: usize = 2 << 20;

/// A query may be a thousand levels deep. Planning, executing and dropping such a plan recurses through every level, in our
/// code and in DataFusion's; a level takes up to some 30 KB in a debug build. The pages are only taken when they are touched.
const CPU_STACK_BYTES: usize = 128 << 20;

/// Both runtimes; the process owns one.
#[derive(Debug)]
pub struct Runtimes {
    io: Runtime,
    cpu: Runtime,
}

impl Runtimes {
    /// Starts the threads: as many for `cpu` as the machine has cores, at most [`IO_THREADS_MAX`] for `io`.
    pub fn try_new() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            io: build("quiver-io", cores.min(IO_THREADS_MAX), IO_STACK_BYTES)?,
            cpu: build("quiver-cpu", cores, CPU_STACK_BYTES)?,
        })
    }

    /// Where queries are evaluated.
    pub fn cpu(&self) -> CpuPool {
        CpuPool(self.cpu.handle().clone())
    }

    /// Runs the program's main future on `io` until it is done.
    pub fn block_on<F: Future>(&self, main: F) -> F::Output {
        self.io.block_on(main)
    }

    /// Ends all threads; a task that is still computing after `patience` is left to the end of the process.
    pub fn shut_down(self, patience: Duration) {
        self.cpu.shutdown_timeout(patience);
        self.io.shutdown_timeout(patience);
    }
}

fn build(thread_name: &str, threads: usize, stack_bytes: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(thread_name)
        .thread_stack_size(stack_bytes)
        .enable_all()
        .build()
}

/// Where work that computes is spawned.
#[derive(Clone, Debug)]
pub struct CpuPool(Handle);

impl CpuPool {
    /// The runtime of the caller, for tests and for servers that are embedded in another program.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current() -> Self {
        Self(Handle::current())
    }

    /// Starts `work` at once. Dropping the task aborts it at its next await point.
    pub fn spawn<T, F>(&self, work: F) -> CpuTask<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        CpuTask(AbortOnDropHandle::new(self.0.spawn(work)))
    }

    /// Starts work that ends by itself, and that nobody waits for.
    pub fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(work));
    }

    /// How many threads compute.
    pub fn thread_count(&self) -> usize {
        self.0.metrics().num_workers()
    }

    /// How many tasks are alive on the pool.
    pub fn task_count(&self) -> usize {
        self.0.metrics().num_alive_tasks()
    }
}

/// Work that was spawned on a [`CpuPool`]; a future of its result.
///
/// A panic inside becomes an error of kind `Internal`: one query fails, the process goes on.
#[derive(Debug)]
pub struct CpuTask<T>(AbortOnDropHandle<T>);

impl<T> Future for CpuTask<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|failed| {
            if failed.is_panic() {
                // The panic hook has logged where; the text of the panic may hold data of the query.
                Error::internal("the request was given up because of a defect in quiver; its log says where")
            } else {
                Error::new(ErrorKind::Canceled, "query was canceled because the server is shutting down")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_the_error_of_its_own_task() {
        let pool = CpuPool::current();
        let failed = pool
            .spawn(async {
                if true {
                    panic!("secret detail")
                }
            })
            .await;
        let error = failed.expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(!error.message().contains("secret"), "{error}");
        assert_eq!(pool.spawn(async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn a_dropped_task_is_aborted() {
        struct SetOnDrop(Arc<AtomicBool>, Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for SetOnDrop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
                if let Some(dropped) = self.1.take() {
                    // Nobody listens any more when the test has failed already.
                    let _ = dropped.send(());
                }
            }
        }
        let was_dropped = Arc::new(AtomicBool::new(false));
        let (sender, dropped) = tokio::sync::oneshot::channel();
        let guard = SetOnDrop(Arc::clone(&was_dropped), Some(sender));
        let task = CpuPool::current().spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        drop(task);
        dropped.await.expect("the guard tells");
        assert!(was_dropped.load(Ordering::SeqCst));
    }
}
