/*
 * test/double/sys/event.h - <sys/event.h> as the BSDs have it
 *
 * A flavour changes types, values and what is missing, as the systems really
 * do. It is the oldest of each that eddy is for: OpenBSD before 7.8 and NetBSD
 * before 10 have no EVFILT_USER. What eddy does not use is left out.
 */
#ifndef EDDY_TEST_DOUBLE_SYS_EVENT_H
#define EDDY_TEST_DOUBLE_SYS_EVENT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#if defined KQUEUE_DOUBLE_FREEBSD

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_VNODE (-4)
#define EVFILT_PROC (-5)
#define EVFILT_USER (-11)

typedef int kqueue_double_count;

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
    uint64_t ext[4];
};

#elif defined KQUEUE_DOUBLE_MACOS

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_VNODE (-4)
#define EVFILT_PROC (-5)
#define EVFILT_USER (-10)

typedef int kqueue_double_count;

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#elif defined KQUEUE_DOUBLE_OPENBSD

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_VNODE (-4)
#define EVFILT_PROC (-5)

typedef int kqueue_double_count;

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
};

#elif defined KQUEUE_DOUBLE_NETBSD

#define EVFILT_READ 0U
#define EVFILT_WRITE 1U
#define EVFILT_VNODE 3U
#define EVFILT_PROC 4U

typedef size_t kqueue_double_count;

struct kevent {
    uintptr_t ident;
    uint32_t filter;
    uint32_t flags;
    uint32_t fflags;
    int64_t data;
    intptr_t udata;
};

#else
#error "the build has to say which flavour"
#endif

#define EV_ADD 0x0001U
#define EV_DELETE 0x0002U
#define EV_ONESHOT 0x0010U
#define EV_CLEAR 0x0020U
#define EV_ERROR 0x4000U
#define EV_EOF 0x8000U

#define NOTE_DELETE 0x0001U
#define NOTE_WRITE 0x0002U
#define NOTE_EXTEND 0x0004U
#define NOTE_ATTRIB 0x0008U
#define NOTE_LINK 0x0010U
#define NOTE_RENAME 0x0020U
#define NOTE_REVOKE 0x0040U
#ifdef KQUEUE_DOUBLE_OPENBSD
#define NOTE_TRUNCATE 0x0080U
#endif

#define NOTE_EXIT 0x80000000U
#ifdef EVFILT_USER
#define NOTE_TRIGGER 0x01000000U
#endif

int kqueue(void);
int kevent(int fd, const struct kevent *changes,
           kqueue_double_count change_count, struct kevent *events,
           kqueue_double_count event_count, const struct timespec *timeout);

#endif
