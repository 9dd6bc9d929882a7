from lib import *
# H: PG exclusive table lock => read lane INTERNAL
url=newdb('pg','brk_h'); s=Svc(url)
print(show(s.call('a@x','1')))
p=subprocess.Popen(['psql',url,'-c','BEGIN; LOCK TABLE "Contact" IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(12)'],stdout=subprocess.DEVNULL)
time.sleep(.5); b=time.time(); r=s.call('a@x',None,timeout='20S'); print('H read under exclusive lock:',show(r),round(time.time()-b,1),'s', 'readyz', s.get('/readyz')); p.wait(); 
print(s.log()[-300:])
print(show(s.call('a@x','1'))); s.stop()
# I: one connection
for k in ['pg','my']:
    url=newdb(k,'brk_i'); s=Svc(url,'--database-connections','1','--database-timeout','2s'); print('I',k,s.log()[-300:]); s.stop()
