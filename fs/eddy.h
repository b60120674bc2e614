/* eddy.h - all of eddy: the loop, the pool and the files */
#ifndef EDDY_H
#define EDDY_H

#include "fs/directory.h"
#include "fs/fs.h"
#include "fs/watch.h"
#include "loop/address.h"
#include "loop/listener.h"
#include "loop/loop.h"
#include "loop/process.h"
#include "loop/signal.h"
#include "loop/stream.h"
#include "loop/terminal.h"
#include "loop/udp.h"
#include "loop/watchdog.h"
#include "pool/pool.h"

#endif
