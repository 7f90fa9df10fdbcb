#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

TAILQ_HEAD(requests, spawn_request);

struct spawner {
    pthread_t thread;
    bool running; // is there a thread?
    pthread_mutex_t lock;
    pthread_cond_t wanted;    // something is asked, or it shall end
    bool ending;              // under the lock, as are the next two
    struct requests asked;    // oldest first
    struct requests answered; // oldest first
    int event_fd;             // readable when there are answers
    struct watch *watch;      // for these
};

/* What every process begins with: see the header. posix_spawn() functions return a positive errno. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    int r;

    sigemptyset(&none);
    sigfillset(&all);
    if ((r = posix_spawnattr_setflags(attributes,
                                      POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) != 0 ||
        (r = posix_spawnattr_setpgroup(attributes, 0)) != 0 ||
        (r = posix_spawnattr_setsigmask(attributes, &none)) != 0 ||
        (r = posix_spawnattr_setsigdefault(attributes, &all)) != 0)
        return r;
    return 0;
}

static int set_files(posix_spawn_file_actions_t *files, const int outputs[2])
{
    int r;

    if ((r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) != 0 ||
        (r = posix_spawn_file_actions_adddup2(files, outputs[0], STDOUT_FILENO)) != 0 ||
        (r = posix_spawn_file_actions_adddup2(files, outputs[1], STDERR_FILENO)) != 0 ||
        (r = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1)) != 0)
        return r;
    return 0;
}

static int start(char *const argv[], char *const envp[], const int outputs[2], pid_t *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;

    int r = posix_spawnattr_init(&attributes);
    if (r != 0)
        return -r;
    r = posix_spawn_file_actions_init(&files);
    if (r == 0) {
        r = set_attributes(&attributes);
        if (r == 0)
            r = set_files(&files, outputs);
        if (r == 0)
            r = posix_spawn(pid, argv[0], &files, &attributes, argv, envp);
        posix_spawn_file_actions_destroy(&files);
    }
    posix_spawnattr_destroy(&attributes);
    return -r;
}

/* Only the reading end does not block: the other is the process's own. */
static int make_pipe(int *read_end, int *write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *read_end = ends[0];
    *write_end = ends[1];
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* The pid stays its own until it is waited for, so this is no race. */
static int open_pid(pid_t pid, int *out)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0) {
        int error = -errno;
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return error;
    }
    *out = fd;
    return 0;
}

int spawn_process(char *const argv[], char *const envp[], struct spawned *out)
{
    int reads[2] = {-1, -1}, writes[2] = {-1, -1};
    pid_t pid = 0;

    int r = make_pipe(&reads[0], &writes[0]);
    if (r == 0)
        r = make_pipe(&reads[1], &writes[1]);
    if (r == 0)
        r = start(argv, envp, writes, &pid);
    close_all(writes, 2);
    if (r == 0)
        r = open_pid(pid, &out->pid_fd);
    if (r < 0) {
        close_all(reads, 2);
        return r;
    }
    out->pid = pid;
    out->fds[0] = reads[0];
    out->fds[1] = reads[1];
    return 0;
}

static void answer(struct spawner *s, struct spawn_request *request)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&s->lock);
    TAILQ_INSERT_TAIL(&s->answered, request, link);
    pthread_mutex_unlock(&s->lock);
    // Cannot fail: a full counter would mean 2^64 answers that nobody took.
    if (write(s->event_fd, &one, sizeof one) < 0)
        return;
}

/* Wait for a request; NULL when the thread shall end. */
static struct spawn_request *next_request(struct spawner *s)
{
    struct spawn_request *request = NULL;

    pthread_mutex_lock(&s->lock);
    while (!s->ending && (request = TAILQ_FIRST(&s->asked)) == NULL)
        pthread_cond_wait(&s->wanted, &s->lock);
    if (s->ending)
        request = NULL;
    else
        TAILQ_REMOVE(&s->asked, request, link);
    pthread_mutex_unlock(&s->lock);
    return request;
}

static void *run_thread(void *ctx)
{
    struct spawner *s = ctx;
    struct spawn_request *request;

    while ((request = next_request(s)) != NULL) {
        request->error = spawn_process(request->argv, request->envp, &request->process);
        answer(s, request);
    }
    return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct spawner *s)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&s->thread, NULL, run_thread, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->running = r == 0;
    return -r;
}

static void tell(struct requests *answered)
{
    struct spawn_request *request;

    while ((request = TAILQ_FIRST(answered)) != NULL) {
        TAILQ_REMOVE(answered, request, link);
        request->done(request);
    }
}

static void on_answers(void *ctx, unsigned what)
{
    struct spawner *s = ctx;
    struct requests answered = TAILQ_HEAD_INITIALIZER(answered);
    uint64_t n;

    (void)what;
    if (read(s->event_fd, &n, sizeof n) < 0)
        return;
    pthread_mutex_lock(&s->lock);
    TAILQ_CONCAT(&answered, &s->answered, link);
    pthread_mutex_unlock(&s->lock);
    tell(&answered);
}

int spawner_new(struct watch_set *watches, struct spawner **out)
{
    struct spawner *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    TAILQ_INIT(&s->asked);
    TAILQ_INIT(&s->answered);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wanted, NULL);
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = s->event_fd < 0 || signal(SIGCHLD, SIG_DFL) == SIG_ERR ? -errno : 0;
    if (r == 0) {
        s->watch = watch_new(watches, s->event_fd, "started commands", NULL, on_answers, s);
        r = s->watch == NULL ? -ENOMEM : watch_want(s->watch, WATCH_READ, 0);
    }
    if (r < 0) {
        spawner_free(s);
        return r;
    }
    *out = s;
    return 0;
}

static void end_thread(struct spawner *s)
{
    struct spawn_request *request;

    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->wanted);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    while ((request = TAILQ_FIRST(&s->asked)) != NULL) {
        TAILQ_REMOVE(&s->asked, request, link);
        request->error = -ECANCELED;
        TAILQ_INSERT_TAIL(&s->answered, request, link);
    }
}

void spawner_free(struct spawner *s)
{
    if (s == NULL)
        return;
    if (s->running)
        end_thread(s);
    tell(&s->answered);
    watch_free(s->watch);
    if (s->event_fd >= 0)
        close(s->event_fd);
    pthread_cond_destroy(&s->wanted);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void spawner_ask(struct spawner *s, struct spawn_request *request)
{
    int r = s->running ? 0 : start_thread(s);

    if (r < 0) {
        request->error = r;
        answer(s, request);
        return;
    }
    pthread_mutex_lock(&s->lock);
    TAILQ_INSERT_TAIL(&s->asked, request, link);
    pthread_cond_signal(&s->wanted);
    pthread_mutex_unlock(&s->lock);
}
