#include "loop/udp.h"
