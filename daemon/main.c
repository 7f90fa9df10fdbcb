/*
 * twistyd - options, --check, exit statuses. The only caller of exit().
 */
#include "conf_files.h"
#include "daemon.h"
#include "init.h"
#include "places.h"
#include "sink.h"
#include "text.h"
#include "varlink.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define LARGE_BLOCK (1 << 20) // bytes

static const char usage[] =
    "Usage: twistyd [OPTION...]\n"
    "Run timer jobs in the foreground, and report them to the system log.\n"
    "\n"
    "  -c, --config FILE     read FILE and FILE.d/*.conf (default: " INSTALLED_CONFIG ", if it is there)\n"
    "      --check           say what is wrong with the configuration, and do not start\n"
    "      --socket PATH     the control socket (default: " SYSTEM_SOCKET " as root,\n"
    "                        else $XDG_RUNTIME_DIR/" USER_SOCKET ")\n"
    "      --log-target T    auto, journal, syslog or stderr\n"
    "      --log-level L     emerg, alert, crit, err, warning, notice, info or debug\n"
    "      --backend B       auto, epoll, poll or select\n"
    "  -h, --help            print this\n"
    "      --version         print the version\n"
    "\n"
    "Exit status: 0 done or stopped, 1 failed, 64 wrong usage, 69 another daemon has the socket,\n"
    "78 mistakes in the configuration. See twistyd(8), twistyd.conf(5) and twistyctl(1).\n";

struct options {
    struct daemon_options daemon;
    enum log_target target;
    int level;
    enum loop_backend backend;
    bool check;
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check", no_argument, NULL, 'k'},
    {"socket", required_argument, NULL, 's'},
    {"log-target", required_argument, NULL, 't'},
    {"log-level", required_argument, NULL, 'l'},
    {"backend", required_argument, NULL, 'b'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

/* What went wrong before there is a log, as an error also in the journal, where stderr leads under systemd. */
static const char *error_prefix(void)
{
    return sink_stderr_is_journal() ? "<3>" : "";
}

__attribute__((format(printf, 1, 2), noreturn)) static void usage_error(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%stwistyd: ", error_prefix());
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("; see twistyd --help\n", stderr);
    exit(EX_USAGE);
}

/* getopt would say it in its own words, and without a guess at what was meant. */
__attribute__((noreturn)) static void unknown_option(const char *text)
{
    const char *name = text + strspn(text, "-");
    const char *near = nearest_of(name, long_options, ARRAY_SIZE(long_options) - 1, sizeof long_options[0]);

    if (near != NULL)
        usage_error("unknown option '%s'; did you mean '--%s'?", text, near);
    usage_error("unknown option '%s'", text);
}

/* What is printed to nowhere is not done. */
static int end_output(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "%stwistyd: cannot write to standard output: %s\n", error_prefix(), strerror(errno));
    return EXIT_FAILURE;
}

static void set_option(struct options *o, int option, const char *value, const char *text)
{
    switch (option) {
    case 'c':
        o->daemon.config = value;
        break;
    case 'k':
        o->check = true;
        break;
    case 's':
        o->daemon.socket = value;
        break;
    case 't':
        if (!log_target_parse(value, &o->target))
            usage_error("--log-target: '%s' is not one of auto, journal, syslog, stderr", value);
        o->daemon.target = &o->target;
        break;
    case 'l':
        if (!log_level_parse(value, &o->level))
            usage_error("--log-level: '%s' is not one of emerg, alert, crit, err, warning, notice, info, debug", value);
        o->daemon.level = &o->level;
        break;
    case 'b':
        if (!loop_backend_parse(value, &o->backend))
            usage_error("--backend: '%s' is not one of auto, epoll, poll, select", value);
        o->daemon.backend = &o->backend;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(end_output());
    case 'v':
        puts("twistyd " TWISTY_VERSION);
        exit(end_output());
    case ':':
        usage_error("option '%s' needs a value", text);
    default:
        unknown_option(text);
    }
}

static void parse_options(int argc, char **argv, struct options *o)
{
    static char installed[PATH_MAX];
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":c:h", long_options, NULL)) != -1)
        set_option(o, option, optarg, argv[optind - 1]);
    if (optind < argc)
        usage_error("'%s' is no option", argv[optind]);
    if (o->daemon.config == NULL && places_config(installed, sizeof installed))
        o->daemon.config = installed;
}

static void print_mistake(void *ctx, const char *line)
{
    (void)ctx;
    fprintf(stderr, "%s%s\n", error_prefix(), line);
}

static struct config *load(const struct options *o)
{
    struct config *config;
    int r = conf_files_load(o->daemon.config, print_mistake, NULL, NULL, &config);

    if (r == -EINVAL)
        exit(EX_CONFIG);
    if (r < 0) {
        fprintf(stderr, "%stwistyd: %s\n", error_prefix(), strerror(-r));
        exit(EXIT_FAILURE);
    }
    return config;
}

static int check(const struct options *o, struct config *config)
{
    if (o->daemon.config == NULL)
        puts("no configuration file; nothing is wrong with that");
    else
        printf("%s: ok, %zu job%s\n", o->daemon.config, config->n_jobs, config->n_jobs == 1 ? "" : "s");
    config_free(config);
    return end_output();
}

/* Descriptors 0 to 2 may be closed: no socket of ours shall ever be taken for stderr. */
static void open_standard_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static int run(const struct daemon_options *options, struct config *config)
{
    struct daemon *daemon;
    char why[512];

    int r = daemon_new(options, config, &daemon, why, sizeof why);
    if (r < 0) {
        fprintf(stderr, "%stwistyd: %s\n", error_prefix(), why);
        return r == -EADDRINUSE ? EX_UNAVAILABLE : EXIT_FAILURE;
    }
    r = daemon_run(daemon);
    daemon_free(daemon);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/*
 * Arrays that grow with the jobs are to grow by moving their pages, as glibc does with what is mapped on its own. Left
 * to itself it raises the bound for that with each large block that is freed, up to 32 MiB; below the bound it copies,
 * and to add one job to a million would then hold the loop.
 */
static void let_large_blocks_grow(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, 4 * LARGE_BLOCK); // a call's memory is not given back after each
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int status = EXIT_FAILURE;

    let_large_blocks_grow();
    open_standard_fds();
    parse_options(argc, argv, &options);
    struct config *config = load(&options);
    if (options.check)
        return check(&options, config);
    int r = init_fork(&status);
    if (r == 0)
        return run(&options.daemon, config);
    if (r < 0)
        fprintf(stderr, "twistyd: cannot fork: %s\n", strerror(-r));
    config_free(config);
    return status;
}
