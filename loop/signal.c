/*
 * loop/signal.c - one handler for all signals, and an inbox for each loop
 *
 *     a signal --> on_signal() --+--> inbox of a loop: what has arrived
 *      (in any thread)           |       and wakes the loop, whose next turn
 *                                |       calls its watches back
 *                                +--> inbox of another loop ...
 *
 * shared_signals is all the state of the process. Its mutex guards it, and
 * which loop watches what; it is held while these are changed, never while
 * foreign code runs. Memory is allocated and freed without it, since forks wait
 * for it. The handler takes no lock.
 *
 * What happens in a loop's inbox besides (the list of watches) is its own
 * thread's business. A loop has an inbox as long as it has watches.
 *
 * The handler and a change. The handler counts itself in, then reads the list
 * of inboxes and what each of them watches, and counts itself out at the end.
 * Who takes something out of these writes that first and then reads the count;
 * all of it is sequentially consistent. So either the handler sees the change,
 * or it is seen in the count and waited for: afterwards no handler knows the
 * inbox, which can be freed, or has still to note a signal that is no longer
 * watched, so that what is watched later starts with a clean sheet. To wait
 * with the mutex held is safe, as the handler waits for nothing, and as signals
 * have no business in here but in the threads that they interrupt.
 *
 * No signal is slept through. The handler notes it before it wakes the loop;
 * the loop takes the notes in each turn, before it waits. One noted after that
 * has a wake-up that ends this wait, or has ended one since the note: then a
 * turn begins, and takes it.
 *
 * The first signal counts. An inbox is in the list before the handler is
 * installed, so that all that the handler catches finds its way.
 *
 * Forks. A child has none of the watches: it gets the previous dispositions
 * back, while all signals are blocked, so that it loses none. Nobody is in the
 * middle of a change meanwhile. There are ways to fork unseen (vfork, _Fork):
 * in a process that is not the owner the handler does nothing, since the
 * wake-up would reach the parent's loop.
 */
#include "loop/signal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "loop/turn.h"

enum {
    SIGNALS = 128, // no system has a signal of that number or above
    WORD_BITS = 64,
    WORDS = SIGNALS / WORD_BITS,
};

struct ed_signal_inbox {
    struct ed_loop *loop;
    struct ed_signal_inbox *next;
    uint64_t arrived[WORDS];   // since the loop last looked
    unsigned watched[SIGNALS]; // by so many of the loop's watches
    size_t in_use;             // numbers that are watched
    struct ed_list watches;    // in the order started
};

struct disposition {
    size_t watches; // of all loops
    struct sigaction previous;
};

static struct {
    pthread_mutex_t mutex;
    bool knows_forks;
    sigset_t blocked_before; // the fork under way
    struct disposition dispositions[SIGNALS];

    // What the handler reads.
    struct ed_signal_inbox *inboxes;
    pid_t owner;
    size_t handlers; // that run
} shared_signals = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- the handler --------------------------------------------------------- */

static void tell_inboxes(int number)
{
    uint64_t bit = UINT64_C(1) << (number % WORD_BITS);
    struct ed_signal_inbox *inbox =
        __atomic_load_n(&shared_signals.inboxes, __ATOMIC_SEQ_CST);
    for (; inbox; inbox = __atomic_load_n(&inbox->next, __ATOMIC_SEQ_CST)) {
        if (!__atomic_load_n(&inbox->watched[number], __ATOMIC_SEQ_CST))
            continue;
        __atomic_fetch_or(&inbox->arrived[number / WORD_BITS], bit,
                          __ATOMIC_SEQ_CST);
        ed_poller_wake(&inbox->loop->poller);
    }
}

static void on_signal(int number)
{
    int saved = errno;
    if (getpid() == __atomic_load_n(&shared_signals.owner, __ATOMIC_SEQ_CST)) {
        __atomic_fetch_add(&shared_signals.handlers, 1, __ATOMIC_SEQ_CST);
        tell_inboxes(number);
        __atomic_fetch_sub(&shared_signals.handlers, 1, __ATOMIC_SEQ_CST);
    }
    errno = saved;
}

static void wait_for_handlers(void)
{
    static const struct timespec moment = {.tv_nsec = 1000};
    while (__atomic_load_n(&shared_signals.handlers, __ATOMIC_SEQ_CST))
        nanosleep(&moment, NULL);
}

/* ---- dispositions, with the mutex held ----------------------------------- */

/*
 * All signals wait while the handler runs, so that handlers do not pile up on a
 * small stack; on the alternate stack of a thread that has one, as is the rule
 * in programs that are not all C.
 */
static int install_handler(int number)
{
    struct disposition *disposition = &shared_signals.dispositions[number];
    struct sigaction previous;
    struct sigaction ours = {.sa_handler = on_signal,
                             .sa_flags = SA_RESTART | SA_ONSTACK};
    sigfillset(&ours.sa_mask);
    if (sigaction(number, &ours, &previous))
        return -errno;
    // Ours it is when somebody has put back what he had found once.
    if (previous.sa_handler != on_signal)
        disposition->previous = previous;
    return 0;
}

/* What somebody else has installed since is left alone. */
static void put_back(int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler == on_signal)
        sigaction(number, &shared_signals.dispositions[number].previous, NULL);
}

static int add_to_disposition(int number)
{
    struct disposition *disposition = &shared_signals.dispositions[number];
    int err = disposition->watches ? 0 : install_handler(number);
    if (!err)
        disposition->watches++;
    return err;
}

static void take_from_disposition(int number)
{
    if (--shared_signals.dispositions[number].watches == 0)
        put_back(number);
}

/* ---- inboxes, with the mutex held ---------------------------------------- */

static void add_to_inbox(struct ed_signal_inbox *inbox, int number)
{
    unsigned before =
        __atomic_fetch_add(&inbox->watched[number], 1, __ATOMIC_SEQ_CST);
    if (before || inbox->in_use++)
        return;
    inbox->next = shared_signals.inboxes;
    __atomic_store_n(&shared_signals.inboxes, inbox, __ATOMIC_SEQ_CST);
}

static void unlink_inbox(struct ed_signal_inbox *inbox)
{
    struct ed_signal_inbox **link = &shared_signals.inboxes;
    while (*link != inbox)
        link = &(*link)->next;
    __atomic_store_n(link, inbox->next, __ATOMIC_SEQ_CST);
}

static void take_from_inbox(struct ed_signal_inbox *inbox, int number)
{
    if (__atomic_sub_fetch(&inbox->watched[number], 1, __ATOMIC_SEQ_CST))
        return;
    if (--inbox->in_use == 0)
        unlink_inbox(inbox);
    wait_for_handlers();
    __atomic_fetch_and(&inbox->arrived[number / WORD_BITS],
                       ~(UINT64_C(1) << (number % WORD_BITS)),
                       __ATOMIC_SEQ_CST);
}

/* ---- forks --------------------------------------------------------------- */

static void block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

static void before_fork(void)
{
    sigset_t before;
    block_signals(&before);
    pthread_mutex_lock(&shared_signals.mutex);
    shared_signals.blocked_before = before;
}

static void after_fork(void)
{
    sigset_t before = shared_signals.blocked_before;
    pthread_mutex_unlock(&shared_signals.mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void after_fork_in_child(void)
{
    for (int number = 1; number < SIGNALS; number++) {
        if (shared_signals.dispositions[number].watches)
            put_back(number);
        shared_signals.dispositions[number].watches = 0;
    }
    shared_signals.inboxes = NULL;
    shared_signals.handlers = 0; // of threads that are not in the child
    after_fork();
}

static int get_to_know_forks(void)
{
    if (shared_signals.knows_forks)
        return 0;
    int err = pthread_atfork(before_fork, after_fork, after_fork_in_child);
    shared_signals.knows_forks = !err;
    return -err;
}

/* ---- watching a number --------------------------------------------------- */

static struct ed_signal_inbox *create_inbox(struct ed_loop *loop)
{
    struct ed_signal_inbox *inbox = malloc(sizeof *inbox);
    if (!inbox)
        return NULL;
    *inbox = (struct ed_signal_inbox){.loop = loop};
    ed_list_init(&inbox->watches);
    return inbox;
}

static void free_unused_inbox(struct ed_loop *loop)
{
    if (loop->inbox->in_use)
        return;
    free(loop->inbox);
    loop->inbox = NULL;
}

/* A handler of SIGSEGV and the like must not return. The system knows others.
 */
static bool can_be_watched(int number)
{
    return number > 0 && number < SIGNALS && number != SIGSEGV &&
           number != SIGBUS && number != SIGFPE && number != SIGILL;
}

static int watch_number(struct ed_loop *loop, int number)
{
    if (!can_be_watched(number))
        return -EINVAL;
    if (!loop->inbox)
        loop->inbox = create_inbox(loop);
    if (!loop->inbox)
        return -ENOMEM;

    pthread_mutex_lock(&shared_signals.mutex);
    __atomic_store_n(&shared_signals.owner, getpid(), __ATOMIC_SEQ_CST);
    add_to_inbox(loop->inbox, number);
    int err = get_to_know_forks();
    if (!err)
        err = add_to_disposition(number);
    if (err)
        take_from_inbox(loop->inbox, number);
    pthread_mutex_unlock(&shared_signals.mutex);
    if (err)
        free_unused_inbox(loop);
    return err;
}

static void unwatch_number(struct ed_loop *loop, int number)
{
    pthread_mutex_lock(&shared_signals.mutex);
    take_from_disposition(number);
    take_from_inbox(loop->inbox, number);
    pthread_mutex_unlock(&shared_signals.mutex);
    free_unused_inbox(loop);
}

/* ---- watches ------------------------------------------------------------- */

static int start_signal(struct ed_loop *loop, struct ed_signal *signal,
                        int number, ed_signal_fn *fn, bool is_once)
{
    // First, so that one that is started anew is watched throughout.
    int err = watch_number(loop, number);
    ed_signal_stop(signal);
    if (err)
        return err;
    signal->number = number;
    signal->loop = loop;
    signal->fn = fn;
    signal->is_once = is_once;
    ed_list_append(&loop->inbox->watches, &signal->link);
    loop->alive += !signal->is_unref;
    return 0;
}

int ed_signal_start(struct ed_loop *loop, struct ed_signal *signal, int number,
                    ed_signal_fn *fn)
{
    return start_signal(loop, signal, number, fn, false);
}

int ed_signal_once(struct ed_loop *loop, struct ed_signal *signal, int number,
                   ed_signal_fn *fn)
{
    return start_signal(loop, signal, number, fn, true);
}

void ed_signal_stop(struct ed_signal *signal)
{
    if (!ed_signal_is_active(signal))
        return;

    ed_list_remove(&signal->link);
    if (ed_list_is_linked(&signal->due_link))
        ed_list_remove(&signal->due_link);
    signal->loop->alive -= !signal->is_unref;
    unwatch_number(signal->loop, signal->number);
}

bool ed_signal_is_active(const struct ed_signal *signal)
{
    return ed_list_is_linked(&signal->link);
}

static void set_signal_unref(struct ed_signal *signal, bool is_unref)
{
    if (ed_signal_is_active(signal)) {
        signal->loop->alive += signal->is_unref;
        signal->loop->alive -= is_unref;
    }
    signal->is_unref = is_unref;
}

void ed_signal_ref(struct ed_signal *signal)
{
    set_signal_unref(signal, false);
}

void ed_signal_unref(struct ed_signal *signal)
{
    set_signal_unref(signal, true);
}

/* ---- the step of the turn ------------------------------------------------ */

/* Appends to due the watches of signals that have arrived. */
static void take_arrived(struct ed_signal_inbox *inbox, struct ed_list *due)
{
    uint64_t arrived[WORDS];
    uint64_t any = 0;
    for (int i = 0; i < WORDS; i++) {
        arrived[i] = __atomic_load_n(&inbox->arrived[i], __ATOMIC_RELAXED);
        if (arrived[i])
            arrived[i] =
                __atomic_exchange_n(&inbox->arrived[i], 0, __ATOMIC_SEQ_CST);
        any |= arrived[i];
    }
    if (!any)
        return;

    struct ed_list *link = inbox->watches.next;
    for (; link != &inbox->watches; link = link->next) {
        struct ed_signal *signal =
            ED_CONTAINER_OF(link, struct ed_signal, link);
        if (arrived[signal->number / WORD_BITS] >>
                (signal->number % WORD_BITS) &
            1)
            ed_list_append(due, &signal->due_link);
    }
}

void ed_turn_run_signals(struct ed_loop *loop)
{
    if (!loop->inbox)
        return;

    struct ed_list due;
    ed_list_init(&due);
    take_arrived(loop->inbox, &due);
    struct ed_list *link;
    while ((link = ed_list_pop(&due))) {
        struct ed_signal *signal =
            ED_CONTAINER_OF(link, struct ed_signal, due_link);
        if (signal->is_once)
            ed_signal_stop(signal);
        ed_turn_begin(loop, "signal", signal,
                      (ed_trace_callback_fn *)signal->fn);
        signal->fn(signal);
        ed_turn_called(loop);
    }
}
