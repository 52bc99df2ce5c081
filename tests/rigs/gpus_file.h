/* Rig R3: reads the file that NVRIG_GPUS names, for fakenvml.c and fakecuda.c.
 *
 * Lines are KEY=VALUE. A key with a GPU's number before it speaks of that GPU (1.name), any other of the system. A key
 * that is the name of a function gives the number that the function returns (nvmlDeviceGetCount_v2=999,
 * 1.nvmlDeviceGetTemperature=15). crash=FUNCTION and hang=FUNCTION end or stop the process there; 1.crash= and 1.hang=
 * do so in fakecuda.c where the call is about that GPU.
 */
#pragma once
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_LINES = 512, LONGEST_LINE = 256 };

/* The value of a key where it first stands, NULL where the file does not have it. */
static const char *value(const char *key)
{
    static char lines[MOST_LINES][LONGEST_LINE];
    static int count = -1;
    if (count < 0) {
        const char *path = getenv("NVRIG_GPUS");
        FILE *file = path ? fopen(path, "r") : NULL;
        for (count = 0; file && count < MOST_LINES && fgets(lines[count], sizeof lines[count], file); count++)
            lines[count][strcspn(lines[count], "\n")] = 0;
        if (file)
            fclose(file);
    }
    size_t length = strlen(key);
    for (int i = 0; i < count; i++)
        if (strncmp(lines[i], key, length) == 0 && lines[i][length] == '=')
            return lines[i] + length + 1;
    return NULL;
}

static unsigned long long number(const char *text) { return text ? strtoull(text, NULL, 0) : 0; }

static void meet(const char *crash, const char *hang, const char *function)
{
    if (crash && strcmp(crash, function) == 0)
        raise(SIGSEGV);
    while (hang && strcmp(hang, function) == 0)
        pause();
}

/* What every function does first: meet the fault that the file asks for, and learn the number that it has to return. */
static int enter(const char *function)
{
    meet(value("crash"), value("hang"), function);
    return (int)number(value(function));
}
