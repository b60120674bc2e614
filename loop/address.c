#include "loop/address.h"
