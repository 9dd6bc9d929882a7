from lib import *
# does 0A000 end by itself?
url=newdb('pg','brk_p'); s=Svc(url); print(show(s.call('a@x','1')))
for i in range(4): s.call('a@x','1')
pg(15432,'ALTER TABLE "Contact" ALTER COLUMN email TYPE text',db='brk_p')
t=time.time(); r=[]
while time.time()-t<25: r.append(s.call('a@x','1')[0]); time.sleep(1)
print('idle pg, one column altered once; status of the same request each second after it:',r,'readyz',s.get('/readyz')); s.stop()
