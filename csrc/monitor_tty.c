/* SPDX-License-Identifier: Apache-2.0
 *
 * The workload's standard input, which is a pipe or the master of its pty (pty(7), ioctl_tty(2)). Runs in the
 * monitor. Writing never blocks: while the workload does not read, what was not taken waits in one buffer and no
 * more is asked of the clients, and output goes on being read. So a paste of any size cannot dead-lock. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "monitor_parts.h"

void mrt_tty_adopt(struct mrt_monitor *monitor, int pty)
{
    if (monitor->outputs[0].fd >= 0)
        close(monitor->outputs[0].fd);
    fcntl(pty, F_SETFL, O_RDWR | O_NONBLOCK);
    monitor->outputs[0] = (struct mrt_output){.fd = pty, .type = MRT_STDOUT, .budget = SIZE_MAX};
    monitor->input.tty = true;
    monitor->input.fd = monitor->settings.flags & MRT_KEEP_STDIN ? pty : -1;
    monitor->input.awaited = false;
    mrt_input_flush(&monitor->input);
    if (monitor->sized)
        mrt_tty_resize(monitor, monitor->window);
}

/* A size that comes before there is a pty is kept for it. No rows or no columns is nobody's window. */
void mrt_tty_resize(struct mrt_monitor *monitor, struct mrt_size size)
{
    if (!size.rows || !size.columns)
        return;
    monitor->window = size;
    monitor->sized = true;
    struct winsize window = {.ws_row = size.rows, .ws_col = size.columns};
    if (monitor->input.tty && monitor->outputs[0].fd >= 0)
        ioctl(monitor->outputs[0].fd, TIOCSWINSZ, &window);
}

void mrt_input_close(struct mrt_input *input)
{
    if (input->fd >= 0 && !input->tty)
        close(input->fd);
    input->fd = -1;
    input->left = 0;
    input->awaited = false;
}

static void write_input(struct mrt_input *input, const char *bytes, size_t size)
{
    while (size && input->fd >= 0) {
        ssize_t written = write(input->fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno == EAGAIN)
            break;
        if (written < 0 && !input->tty)
            mrt_input_close(input); /* the workload closed its end: the rest is nobody's */
        if (written <= 0)
            size = 0;
        else {
            bytes += written;
            size -= (size_t)written;
        }
    }
    memmove(input->bytes, bytes, size);
    input->left = input->fd < 0 && !input->awaited ? 0 : size;
}

void mrt_input_take(struct mrt_input *input, const char *bytes, size_t size)
{
    if (!input->end && size <= sizeof input->bytes)
        write_input(input, bytes, size);
}

void mrt_input_flush(struct mrt_input *input)
{
    write_input(input, input->bytes, input->left);
    if (input->end && !input->left)
        mrt_input_close(input);
}

/* A terminal has no end of file of its own: what reads it there is a character, and the workload's business. */
void mrt_input_end(struct mrt_input *input)
{
    if (input->tty)
        return;
    input->end = true;
    if (!input->left)
        mrt_input_close(input);
}
