//! Events, semaphores and locks for green threads; each can be used from any OS thread.
