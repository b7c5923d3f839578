//! The spans of the crate `tracing` that the running greenlet has entered: left when it is suspended, and entered again
//! when it goes on, as those of an instrumented future are between two polls.
//!
//! A subscriber keeps one stack of entered spans for an OS thread, and is asked for its top until there is none. What
//! was left lies on the suspended greenlet's own stack.

#[cfg(feature = "tracing")]
pub(crate) use kept::{Left, leave};
#[cfg(not(feature = "tracing"))]
pub(crate) use none::{Left, leave};

#[cfg(feature = "tracing")]
mod kept {
    use tracing::Dispatch;
    use tracing::dispatcher::get_default;
    use tracing::level_filters::LevelFilter;
    use tracing::span::Id;

    /// Spans that were left. They are not closed meanwhile: the green threads that entered them have them.
    #[must_use]
    pub(crate) struct Left(Option<Box<Spans>>);

    struct Spans {
        subscriber: Dispatch,
        innermost_first: Vec<Id>,
    }

    /// Leaves all spans.
    #[inline]
    pub(crate) fn leave() -> Left {
        // No subscriber, no spans.
        if LevelFilter::current() == LevelFilter::OFF { Left(None) } else { leave_all() }
    }

    #[cold]
    fn leave_all() -> Left {
        get_default(|subscriber| {
            let mut innermost_first = Vec::new();
            while let Some(id) = subscriber.current_span().id() {
                // One that goes on about a span that it was told to leave would keep us here.
                if innermost_first.len() == DEEPEST {
                    break;
                }
                subscriber.exit(id);
                innermost_first.push(id.clone());
            }
            if innermost_first.is_empty() {
                return Left(None);
            }
            Left(Some(Box::new(Spans { subscriber: subscriber.clone(), innermost_first })))
        })
    }

    const DEEPEST: usize = 10_000;

    impl Left {
        /// Enters them again.
        #[inline]
        pub fn enter(self) {
            if let Some(spans) = self.0 {
                enter_all(&spans);
            }
        }
    }

    #[cold]
    fn enter_all(spans: &Spans) {
        spans.innermost_first.iter().rev().for_each(|id| spans.subscriber.enter(id));
    }
}

#[cfg(not(feature = "tracing"))]
mod none {
    #[must_use]
    pub(crate) struct Left;

    #[inline(always)]
    pub(crate) fn leave() -> Left {
        Left
    }

    impl Left {
        #[inline(always)]
        pub fn enter(self) {}
    }
}
