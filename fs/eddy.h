/* eddy.h - all of eddy: the loop, the pool and the files */
#ifndef EDDY_H
#define EDDY_H

#include "fs/fs.h"
#include "loop/loop.h"
#include "pool/pool.h"

#endif
