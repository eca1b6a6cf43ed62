//! A batch of a number of inputs that is known beforehand.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::promise::{Future, Promise, promise};

/// Does in one call what a number of fibers or threads bring, once all of them have: as `folly::fibers::AtomicBatchDispatcher`.
///
/// Each gets a [`Token`] beforehand. When all tokens have been given an input, and [`commit`](AtomicBatchDispatcher::commit) has
/// said that there will be no more, the function is called with the inputs in the order of the tokens, by whoever came last.
///
/// ```
/// use kapok::fan_out::AtomicBatchDispatcher;
///
/// kapok::run(|| {
///     kapok::scope(|s| {
///         let mut batch = AtomicBatchDispatcher::new(|words: Vec<&str>| {
///             assert_eq!(words, ["first", "second"]);
///             words.iter().map(|word| word.len()).collect()
///         });
///         let (first, second) = (batch.token(), batch.token());
///         s.spawn(move || assert_eq!(second.dispatch("second").wait(), Ok(6)));
///         s.spawn(move || assert_eq!(first.dispatch("first").wait(), Ok(5)));
///         batch.commit();
///     });
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It is all or nothing: when a token is dropped without an input, because its fiber was cancelled for instance, the function
/// is not called, and all who wait are told. Where a part would do, let the input be an `Option`.
///
/// What Folly calls wrong usage, a token after the commit or a token used twice, does not compile.
pub struct AtomicBatchDispatcher<'a, C, R> {
    inner: Arc<Inner<'a, C, R>>,
    tokens: usize,
}

/// The right to bring one input; see [`AtomicBatchDispatcher`].
#[must_use = "a token that is dropped refuses the whole batch"]
pub struct Token<'a, C, R> {
    /// `None` when it was used.
    inner: Option<Arc<Inner<'a, C, R>>>,
    place: usize,
}

/// The result of one input that is to come.
pub struct BatchResult<R>(Future<Result<R, BatchError>>);

/// Why a batch has no results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// A token was dropped without an input.
    TokenDropped,
    /// The dispatcher was dropped without a [`commit`](AtomicBatchDispatcher::commit).
    NotCommitted,
    /// The function has panicked, or has not given as many results as it was given inputs.
    Panicked,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BatchError::TokenDropped => "a token of the batch was dropped without an input",
            BatchError::NotCommitted => "the batch was dropped without a commit",
            BatchError::Panicked => "the function of the batch has panicked",
        })
    }
}

impl Error for BatchError {}

type Answer<R> = Promise<Result<R, BatchError>>;

struct Inner<'a, C, R>(Mutex<State<'a, C, R>>);

enum State<'a, C, R> {
    Gathering {
        dispatch: Box<dyn FnOnce(Vec<C>) -> Vec<R> + Send + 'a>,
        /// By place.
        inputs: Vec<Option<(C, Answer<R>)>>,
        /// How many tokens there are that have brought none.
        missing: usize,
        committed: bool,
    },
    /// It was dispatched.
    Over,
    Refused(BatchError),
}

impl<'a, C, R> Inner<'a, C, R> {
    fn lock(&self) -> MutexGuard<'_, State<'a, C, R>> {
        // Nothing of the program's is called, or dropped, under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where everything is there, calls the function, and tells its results.
    fn dispatch_if_complete(&self) {
        let mut state = self.lock();
        if !matches!(
            &*state,
            State::Gathering {
                missing: 0,
                committed: true,
                ..
            }
        ) {
            return;
        }
        let gathered = std::mem::replace(&mut *state, State::Over);
        drop(state);
        let State::Gathering { dispatch, inputs, .. } = gathered else {
            unreachable!("as was just seen")
        };
        let (inputs, answers): (Vec<_>, Vec<_>) = inputs.into_iter().flatten().unzip();
        if inputs.is_empty() {
            return;
        }
        let results = dispatch(inputs);
        assert_eq!(
            results.len(),
            answers.len(),
            "the function of an AtomicBatchDispatcher has to give as many results as it was given inputs"
        );
        answers
            .into_iter()
            .zip(results)
            .for_each(|(answer, result)| answer.set(Ok(result)));
    }

    /// There will be no results, unless they are there already.
    fn refuse(&self, error: BatchError, even_if_committed: bool) {
        let mut state = self.lock();
        match &*state {
            State::Gathering { committed, .. } if !committed || even_if_committed => {}
            _ => return,
        }
        let gathered = std::mem::replace(&mut *state, State::Refused(error));
        drop(state);
        if let State::Gathering { inputs, .. } = gathered {
            let refuse = |(_, answer): (C, Answer<R>)| answer.set(Err(error));
            inputs.into_iter().flatten().for_each(refuse);
        }
    }
}

impl<'a, C, R> AtomicBatchDispatcher<'a, C, R> {
    /// One that calls `dispatch` with the inputs, which gives their results in the same order. Not for a batch without tokens.
    pub fn new(dispatch: impl FnOnce(Vec<C>) -> Vec<R> + Send + 'a) -> AtomicBatchDispatcher<'a, C, R> {
        let state = State::Gathering {
            dispatch: Box::new(dispatch),
            inputs: Vec::new(),
            missing: 0,
            committed: false,
        };
        AtomicBatchDispatcher {
            inner: Arc::new(Inner(Mutex::new(state))),
            tokens: 0,
        }
    }

    /// A token for one more input, whose place is after those of the tokens before it.
    pub fn token(&mut self) -> Token<'a, C, R> {
        let place = self.tokens;
        self.tokens += 1;
        if let State::Gathering { inputs, missing, .. } = &mut *self.inner.lock() {
            inputs.push(None);
            *missing += 1;
        }
        Token {
            inner: Some(Arc::clone(&self.inner)),
            place,
        }
    }

    /// Says that there are all tokens. Where all have their input, the function is called right here.
    ///
    /// # Panics
    /// With what the function panicked with. If it has not given as many results as it was given inputs.
    pub fn commit(self) {
        if let State::Gathering { committed, .. } = &mut *self.inner.lock() {
            *committed = true;
        }
        self.inner.dispatch_if_complete();
    }
}

impl<C, R> Drop for AtomicBatchDispatcher<'_, C, R> {
    fn drop(&mut self) {
        self.inner.refuse(BatchError::NotCommitted, false);
    }
}

impl<C, R> Token<'_, C, R> {
    /// Brings the input. Where it is the last, and the batch is committed, the function is called right here; else this never
    /// waits.
    ///
    /// # Panics
    /// As [`commit`](AtomicBatchDispatcher::commit).
    pub fn dispatch(mut self, input: C) -> BatchResult<R> {
        let inner = self.inner.take().expect("it is used once");
        let (answer, future) = promise();
        let mut state = inner.lock();
        match &mut *state {
            State::Gathering { inputs, missing, .. } => {
                inputs[self.place] = Some((input, answer));
                *missing -= 1;
                drop(state);
                inner.dispatch_if_complete();
            }
            State::Refused(error) => {
                let error = *error;
                drop(state);
                answer.set(Err(error));
            }
            State::Over => unreachable!("it waits for every token"),
        }
        BatchResult(future)
    }

    /// Its place among the inputs.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }
}

impl<C, R> Drop for Token<'_, C, R> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.refuse(BatchError::TokenDropped, true);
        }
    }
}

impl<R> BatchResult<R> {
    /// Waits for the result: for all tokens, the commit, and the function.
    ///
    /// # Errors
    /// If there will be none; see [`BatchError`].
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn wait(self) -> Result<R, BatchError> {
        self.0.wait().unwrap_or(Err(BatchError::Panicked))
    }
}

impl<C, R> fmt::Debug for AtomicBatchDispatcher<'_, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtomicBatchDispatcher")
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl<C, R> fmt::Debug for Token<'_, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for BatchResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchResult").finish_non_exhaustive()
    }
}
