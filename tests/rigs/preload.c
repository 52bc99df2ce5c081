/* Rig R1: answers for /dev/nvidia* in place of the kernel module, so that NVIDIA's own libraries can be asked.
 *
 * Numbers, layouts and the rules of the version check are those of NVIDIA's open kernel modules (MIT licence):
 * nv-ioctl-numbers.h, nv-ioctl.h, nvos.h, ctrl0000system.h, ctrl0000gpu.h, osapi.c. No GPU is ever attached.
 * The environment says what the kernel side is like:
 *   NVRIG_KERNEL  the release that the kernel module claims to be
 *   NVRIG_MODE    answer (default), hang-open, hang-ioctl, or the name of the errno that open gives: EIO, EPERM, …
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RM_FREE = 0x29, RM_CONTROL = 0x2a, RM_ALLOC = 0x2b, CARD_INFO = 200, CHECK_VERSION = 210, SYSTEM_PARAMETERS = 214,
    GET_BUILD_VERSION = 0x101, GET_ATTACHED_IDS = 0x201, GET_PROBED_IDS = 0x214,
    RELAXED = '1', RECOGNIZED = 1, STATUS_NOT_SUPPORTED = 0x56, MOST_DESCRIPTORS = 4096
};

struct version_check { uint32_t command, reply; char version[64]; };
struct rm_control { uint32_t client, object, command, flags; uint64_t params; uint32_t size, status; };
struct build_version { uint32_t size; uint64_t driver, version, title; uint32_t change, official; };

static unsigned char ours[MOST_DESCRIPTORS];

static const char *kernel(void) { const char *said = getenv("NVRIG_KERNEL"); return said ? said : "0"; }
static const char *mode(void) { const char *said = getenv("NVRIG_MODE"); return said ? said : "answer"; }
static int is_device(const char *path) { return path && strncmp(path, "/dev/nvidia", 11) == 0; }
static int is_ours(int descriptor) { return descriptor >= 0 && descriptor < MOST_DESCRIPTORS && ours[descriptor]; }
static int takes_bits(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }
static void hang(void) { for (;;) pause(); }

static int refusal(void)
{
    static const struct { const char *name; int number; } known[] = {
        {"EIO", EIO}, {"EPERM", EPERM}, {"EACCES", EACCES}, {"ENODEV", ENODEV}, {"ENXIO", ENXIO},
        {"EBUSY", EBUSY}, {"ENOMEM", ENOMEM}, {"EMFILE", EMFILE}, {"ENOENT", ENOENT},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(mode(), known[i].name) == 0)
            return known[i].number;
    return 0;
}

/* Opens a device: the real node must be there and open to this user, as the kernel would see to it; then /dev/null. */
static int open_device(const char *path)
{
    if (strcmp(mode(), "hang-open") == 0)
        hang();
    if (access(path, F_OK) != 0 || access(path, R_OK) != 0)
        return -1;
    if (refusal()) {
        errno = refusal();
        return -1;
    }
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    int descriptor = real("/dev/null", O_RDWR | O_CLOEXEC);
    if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS)
        ours[descriptor] = 1;
    return descriptor;
}

#define OPEN(NAME)                                                                                            \
    int NAME(const char *path, int flags, ...)                                                                \
    {                                                                                                         \
        va_list rest;                                                                                         \
        va_start(rest, flags);                                                                                \
        mode_t bits = takes_bits(flags) ? va_arg(rest, mode_t) : 0;                                           \
        va_end(rest);                                                                                         \
        if (is_device(path))                                                                                  \
            return open_device(path);                                                                         \
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #NAME))(path, flags, bits);                 \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(NAME)                                                                                          \
    int NAME(int folder, const char *path, int flags, ...)                                                    \
    {                                                                                                         \
        va_list rest;                                                                                         \
        va_start(rest, flags);                                                                                \
        mode_t bits = takes_bits(flags) ? va_arg(rest, mode_t) : 0;                                           \
        va_end(rest);                                                                                         \
        if (is_device(path))                                                                                  \
            return open_device(path);                                                                         \
        return ((int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #NAME))(folder, path, flags, bits);    \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(NAME)                                                                                           \
    FILE *NAME(const char *path, const char *how)                                                             \
    {                                                                                                         \
        if (!is_device(path))                                                                                 \
            return ((FILE *(*)(const char *, const char *))dlsym(RTLD_NEXT, #NAME))(path, how);               \
        int descriptor = open_device(path);                                                                   \
        return descriptor < 0 ? NULL : fdopen(descriptor, how);                                               \
    }
FOPEN(fopen)
FOPEN(fopen64)

int close(int descriptor)
{
    if (is_ours(descriptor))
        ours[descriptor] = 0;
    return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(descriptor);
}

/* libnvidia-ml wants the whole string to be the same; a relaxed client only what comes before the first dot. */
static int check_version(struct version_check *asked)
{
    size_t compared = sizeof asked->version;
    if (asked->command == RELAXED)
        compared = strcspn(kernel(), ".") + 1;
    asked->reply = RECOGNIZED;
    if (strncmp(asked->version, kernel(), compared) == 0)
        return 0;
    snprintf(asked->version, sizeof asked->version, "%s", kernel());
    errno = EINVAL;
    return -1;
}

/* libcuda never asks for the version check: it reads the build version here and judges by its first number. */
static int control(struct rm_control *asked)
{
    struct build_version *build = (struct build_version *)(uintptr_t)asked->params;
    uint64_t buffers[3] = {0};
    asked->status = 0;
    switch (asked->command) {
    case GET_BUILD_VERSION:
        memcpy(buffers, &build->driver, sizeof buffers);
        for (int i = 0; i < 3; i++)
            if (buffers[i])
                snprintf((char *)(uintptr_t)buffers[i], build->size, "%s", kernel());
        return 0;
    case GET_ATTACHED_IDS:
    case GET_PROBED_IDS: /* a list whose every entry is NV0000_CTRL_GPU_INVALID_ID */
        memset((void *)(uintptr_t)asked->params, 0xff, asked->size);
        return 0;
    default:
        asked->status = STATUS_NOT_SUPPORTED;
        return 0;
    }
}

int ioctl(int descriptor, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (!is_ours(descriptor))
        return ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(descriptor, request, argument);
    if (strcmp(mode(), "hang-ioctl") == 0)
        hang();
    unsigned size = (request >> 16) & 0x3fff;
    switch (request & 0xff) {
    case CHECK_VERSION:
        return check_version(argument);
    case RM_CONTROL:
        return control(argument);
    case RM_ALLOC: /* the status is the last or last but one word, by the size of the structure */
        ((uint32_t *)argument)[(size >= 48 ? 40 : 28) / 4] = 0;
        return 0;
    case CARD_INFO: /* every entry stays invalid: no GPU is attached */
    case SYSTEM_PARAMETERS:
    case RM_FREE:
        return 0;
    default:
        errno = EIO;
        return -1;
    }
}
