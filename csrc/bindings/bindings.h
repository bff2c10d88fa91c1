/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that Python sees of C: the one header of the cffi extension. Constants come from here, through the
 * compiler, and are copied nowhere. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/netfilter.h> /* after netinet/in.h, which arpa/inet.h brings: both name the same things */
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "events.h"
#include "execute.h"
#include "monitor.h"
#include "plan.h"
#include "spawn.h"
#include "syscalls.h"
#include "unpack.h"
